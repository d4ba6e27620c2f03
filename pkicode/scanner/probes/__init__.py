"""What is asked of a target, one module a probe; pkicode/scanner/registry.py says which there are and when."""
