"""Small fully connected networks, trained fast on a CPU. The public names, and nothing else."""

from . import init
from .activations import ACTIVATIONS, Activation
from .losses import LOSSES, Loss
from .model import MLP, GradientCheck, check_gradients
from .spec import Spec
from .training import DivergenceError, History, train

__version__ = "0.1.0"

step = ACTIVATIONS["step"]
linear = ACTIVATIONS["linear"]
sigmoid = ACTIVATIONS["sigmoid"]
tanh = ACTIVATIONS["tanh"]
relu = ACTIVATIONS["relu"]
leaky_relu = ACTIVATIONS["leaky_relu"]
softmax = ACTIVATIONS["softmax"]
swish = silu = ACTIVATIONS["swish"]
elu = ACTIVATIONS["elu"]
selu = ACTIVATIONS["selu"]
gelu = ACTIVATIONS["gelu"]
softplus = ACTIVATIONS["softplus"]
hard_tanh = ACTIVATIONS["hard_tanh"]
sine = ACTIVATIONS["sine"]
