#!/bin/sh
# Fetch the scripts and styles of the service's page from their npm packages, as the file VENDOR beside them
# lists them, and compare the packages with the checksums there. Needs npm and openssl; nothing is built.
#
#   sh launch/vendor.sh
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
place=$root/distopt/service/static/vendor
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

grep -v '^#' "$place/VENDOR" | while read -r package version _ checksum file name; do
    box=$work/$package-$version
    if [ ! -d "$box" ]; then
        mkdir "$box"
        (cd "$box" && npm pack --silent "$package@$version" >/dev/null)
        found=sha512-$(cat "$box"/*.tgz | openssl dgst -sha512 -binary | openssl base64 -A)
        [ "$found" = "$checksum" ] || {
            echo "vendor: $package $version has the checksum $found, not the one in VENDOR" >&2
            exit 1
        }
        tar -xzf "$box"/*.tgz -C "$box"
    fi
    cp "$box/package/$file" "$place/$name"
    chmod 644 "$place/$name"
    echo "vendor: $name ($package $version)"
done
