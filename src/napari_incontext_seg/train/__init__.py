"""Training of the embedded model. Needs torch, timm, einops, numpy and safetensors alone."""
