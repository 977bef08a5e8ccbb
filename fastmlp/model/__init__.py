"""What users hold and call: networks, training, files, checkpoints. It knows the engine, and never the kernels."""
