"""distopt as a service: a queue of jobs, an HTTP API and a page (docs: service).

The server itself reads no record, makes no configuration and draws nothing: processes beside it do, which
may hang, crash or run out of memory without harm (`distopt.service.worker`).
"""
