"""Space and time: linear maps of places and dates in the residual stream at the ends of names."""
