"""What a GPU can do at most, by its name: the denominator of MFU.

From the makers' data sheets: dense products without sparsity, sums in float32, at the boost clock. `fp32` is what our
float32 runs use: PyTorch multiplies matrices of float32 without TF32 unless told otherwise, and nothing here tells it
to; on AMD's chips that is the rate of their float32 matrix cores. Data sheets:

    NVIDIA    nvidia.com: V100, V100S, T4, A100, A30, A40, A10, L4, L40, L40S, H100 (SXM, PCIe, NVL), H200 (SXM, NVL),
              GH200, HGX B200, GB200 NVL72, RTX A6000, RTX 6000 Ada; the whitepapers of GA102, Ada and RTX Blackwell for
              the GeForce cards; AWS's sheet of the A10G
    AMD       amd.com: Instinct MI100, MI210, MI250, MI250X, MI300A, MI300X, MI325X; an MI250 or MI250X is two devices
    LEONARDO  its A100s with 64 GB: 124 multiprocessors in place of 108, at the same clock (Turisini et al. 2023)

Names are torch.cuda.get_device_name's. A name has to be spelt as a whole: a laptop's chip, a share of a virtual GPU
(`A100-10C`) or of a partitioned one (`MIG 1g.5gb`) does less than its namesake, and is not known here.
"""

import re
from dataclasses import dataclass

from mammut_clip.cost.memory import Precision

_MAKERS = re.compile(r"^((NVIDIA|AMD|Tesla|GeForce|Instinct) )+")


@dataclass(frozen=True)
class Chip:
    """Peak TFLOP/s of one device."""

    name: str
    """Regular expression of the whole name, without its maker and line of products."""
    bf16: float | None
    """None where the chip has no units for bf16."""
    fp32: float


CHIPS = (
    Chip(r"V100-SXM2-(16|32)GB", None, 15.7),
    Chip(r"V100-PCIE-(16|32)GB", None, 14.0),
    Chip(r"V100S-PCIE-32GB", None, 16.4),
    Chip(r"T4", None, 8.1),
    Chip(r"A100-SXM4?-(40|80)GB|A100-PCIE-(40|80)GB|A100 (40|80)GB PCIe", 312.0, 19.5),
    Chip(r"A100-SXM-64GB", 358.0, 22.4),
    Chip(r"A30", 165.0, 10.3),
    Chip(r"A40", 149.7, 37.4),
    Chip(r"A10", 125.0, 31.2),
    Chip(r"A10G", 70.0, 35.0),
    Chip(r"RTX A6000", 154.8, 38.7),
    Chip(r"RTX 3090", 71.0, 35.6),
    Chip(r"RTX 3090 Ti", 80.0, 40.0),
    Chip(r"L4", 121.0, 30.3),
    Chip(r"L40", 181.05, 90.5),
    Chip(r"L40S", 362.05, 91.6),
    Chip(r"RTX 6000 Ada Generation", 364.2, 91.1),
    Chip(r"RTX 4090", 165.2, 82.6),
    Chip(r"H100 80GB HBM3|H100 SXM5?( 80GB)?|H100-SXM5?-80GB", 989.4, 67.0),
    Chip(r"H100 PCIe|H100 80GB HBM2e", 756.0, 51.0),
    Chip(r"H100 NVL", 835.0, 60.0),
    Chip(r"H200( SXM)?", 989.4, 67.0),
    Chip(r"H200 NVL", 835.5, 60.0),
    Chip(r"GH200( (120|480)GB| 144G HBM3e| 96GB HBM3)?", 989.4, 67.0),
    Chip(r"B200", 2250.0, 75.0),
    Chip(r"GB200", 2500.0, 80.0),
    Chip(r"RTX 5090", 209.5, 104.8),
    Chip(r"MI100", 92.3, 46.1),
    Chip(r"MI210", 181.0, 45.3),
    Chip(r"MI250", 181.05, 45.25),
    Chip(r"MI250X", 191.5, 47.85),
    Chip(r"MI300A", 980.6, 122.6),
    Chip(r"MI300X|MI325X", 1307.4, 163.4),
)


def peak_tflops(device_name: str, precision: Precision) -> float | None:
    """Peak TFLOP/s of a device by the name that torch.cuda.get_device_name gives it.

    None for one that is not known here, and for bf16 on a chip that has no units for it.
    """
    short = _MAKERS.sub("", device_name.strip())
    chip = next((chip for chip in CHIPS if re.fullmatch(chip.name, short, re.IGNORECASE)), None)
    if chip is None:
        return None
    return chip.bf16 if precision == "bf16" else chip.fp32
