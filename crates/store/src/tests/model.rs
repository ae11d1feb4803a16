//! Random operations and crashes against a model.
