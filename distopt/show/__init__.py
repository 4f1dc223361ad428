"""What people see: terminal, pages, figures, tables."""
