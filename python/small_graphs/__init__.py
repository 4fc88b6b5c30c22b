"""Small PyTorch models whose exports the conformance test compares with ONNX Runtime."""
