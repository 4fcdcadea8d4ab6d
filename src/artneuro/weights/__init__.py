"""What the weights of a model say without running it: norms, biases and angles of its neurons."""
