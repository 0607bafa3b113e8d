"""Looking into models: size, receptive field, attention."""

from gcvideo.analysis.attention import attention_maps
from gcvideo.analysis.complexity import MACS_COUNTER, count_macs, count_parameters, receptive_field
from gcvideo.analysis.grad_cam import grad_cam

__all__ = ["MACS_COUNTER", "attention_maps", "count_macs", "count_parameters", "grad_cam", "receptive_field"]
