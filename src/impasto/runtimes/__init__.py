"""Other engines for the same networks, such as ONNX Runtime."""
