"""The engine: many answers from one loaded model, one step of all of them at a time."""
