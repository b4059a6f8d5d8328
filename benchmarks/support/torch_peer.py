"""Saves and loads a state dict when told to, and says how long it took: one line in, one number out."""
import os
import sys
import time

import torch

state = {}
for line in sys.stdin:
    command, *arguments = line.split()
    if command == "make":
        tensors, side = map(int, arguments)
        state = {f"layer{i}.kernel": torch.rand(side, side) for i in range(tensors)}
        print(torch.__version__, flush=True)
        continue
    path = arguments[0]
    began = time.perf_counter()
    if command == "load":
        torch.load(path)
    else:
        with open(path, "wb") as file:
            torch.save(state, file)
            if command == "save-sync":
                file.flush()
                os.fdatasync(file.fileno())
    print((time.perf_counter() - began) * 1000, flush=True)
