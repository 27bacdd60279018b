"""A model with its adapter and recipe as a folder that other programs run: transformers, TensorRT-LLM, ONNX, AOTInductor,
libharken. `targets.py` lists what there is; `folder.py`, `manifest.py` and `golden.py` are what every target shares.
"""
