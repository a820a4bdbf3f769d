"""Runs the service on HOST and PORT."""

import os

import uvicorn

uvicorn.run("app:app", host=os.getenv("HOST", "0.0.0.0"), port=int(os.getenv("PORT", "8080")))
