"""How the database came to have its tables: alembic's environment."""
