"""Interventions on a model: units held at a value, and what that does to the loss."""
