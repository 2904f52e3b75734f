"""The Starlette app: health, start page, live events."""
