"""Loads what TypeScript has trained."""
import json

import torch
from circle import Circle, inside, loss_of, points

model = Circle()
model.load_state_dict(torch.load("circle-back.pt", weights_only=True))
with torch.no_grad():
    print(f"Python again: loss {loss_of(model, points, inside).item():.6f}")
    print(json.dumps(model(points[:5]).tolist()))
