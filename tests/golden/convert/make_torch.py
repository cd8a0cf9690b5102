"""Writes small PyTorch checkpoints into the folder named: python make_torch.py tests/golden/convert. Made with
torch 2.13.0 (CPU). Values are the integers from 0 on, so that a test knows them."""
import collections, sys, pathlib
import torch

out = pathlib.Path(sys.argv[1])
base = torch.arange(96, dtype=torch.float32).reshape(8, 12)
state = collections.OrderedDict()
state["f32"] = base
state["f16"] = base[:2].half()
state["bf16"] = base[:2].bfloat16()
state["transposed"] = base.t()
state["slice"] = base[2:5, 3:7]
state["tied"] = base
state["scalar"] = torch.tensor(5.0)
state["empty"] = torch.empty(0, 4)
state["parameter"] = torch.nn.Parameter(torch.arange(6.0), requires_grad=False)
torch.save(state, out / "views.pth")
torch.save({"state_dict": dict(state), "step": 3, "loss": 0.5}, out / "nested.pth")
torch.save(torch.nn.Linear(2, 2), out / "module.pth")
torch.save({"w": base}, out / "legacy.pth", _use_new_zipfile_serialization=False)
