"""What turns a network into a TensorRT engine. Imports no TensorRT: callers pass the module that they have."""
