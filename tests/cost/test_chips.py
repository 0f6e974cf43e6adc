"""Peaks by device name: names as PyTorch gives them, and look-alikes that must not be taken for them."""

import re

import pytest

from mammut_clip.cost.chips import CHIPS, peak_tflops

KNOWN = {
    "Tesla V100-SXM2-32GB": (None, 15.7),
    "Tesla V100S-PCIE-32GB": (None, 16.4),
    "Tesla T4": (None, 8.1),
    "NVIDIA A100-SXM4-40GB": (312, 19.5),
    "NVIDIA A100-SXM4-80GB": (312, 19.5),
    "A100-SXM4-40GB": (312, 19.5),
    "NVIDIA A100-PCIE-40GB": (312, 19.5),
    "NVIDIA A100 80GB PCIe": (312, 19.5),
    "NVIDIA A100-SXM-64GB": (358, 22.4),
    "NVIDIA A10": (125, 31.2),
    "NVIDIA A10G": (70, 35),
    "NVIDIA A30": (165, 10.3),
    "NVIDIA A40": (149.7, 37.4),
    "NVIDIA RTX A6000": (154.8, 38.7),
    "NVIDIA GeForce RTX 3090": (71, 35.6),
    "NVIDIA GeForce RTX 3090 Ti": (80, 40),
    "NVIDIA GeForce RTX 4090": (165.2, 82.6),
    "NVIDIA GeForce RTX 5090": (209.5, 104.8),
    "NVIDIA L4": (121, 30.3),
    "NVIDIA L40": (181.05, 90.5),
    "NVIDIA L40S": (362.05, 91.6),
    "NVIDIA RTX 6000 Ada Generation": (364.2, 91.1),
    "NVIDIA H100 80GB HBM3": (989.4, 67),
    "NVIDIA H100 PCIe": (756, 51),
    "NVIDIA H100 NVL": (835, 60),
    "NVIDIA H200": (989.4, 67),
    "NVIDIA H200 NVL": (835.5, 60),
    "NVIDIA GH200 480GB": (989.4, 67),
    "NVIDIA GH200 144G HBM3e": (989.4, 67),
    "NVIDIA B200": (2250, 75),
    "NVIDIA GB200": (2500, 80),
    "AMD Instinct MI250X": (191.5, 47.85),
    "AMD Instinct MI250": (181.05, 45.25),
    "AMD Instinct MI300X": (1307.4, 163.4),
    "AMD Instinct MI325X": (1307.4, 163.4),
}

LOOK_ALIKES = [
    "",
    "cpu",
    "NVIDIA",
    "NVIDIA A100",  # which one?
    "NVIDIA A1000",
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
    "GRID A100-10C",
    "NVIDIA A40-48Q",
    "NVIDIA A16",
    "NVIDIA T400 4GB",
    "NVIDIA T4G",
    "NVIDIA RTX A4000",
    "NVIDIA GeForce RTX 3090 Laptop GPU",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 5090 Laptop GPU",
    "NVIDIA GeForce RTX 409",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "NVIDIA H20",
    "NVIDIA GB20",
    "NVIDIA B2000",
    "NVIDIA L400",
    "AMD Instinct MI250X2",
    "AMD Instinct MI30",
    "AMD Radeon RX 7900 XTX",
    "NVIDIA DGX Display",
    "my NVIDIA A10",
]


@pytest.mark.parametrize("name", KNOWN)
def test_peaks_of_the_data_sheets(name: str) -> None:
    assert (peak_tflops(name, "bf16"), peak_tflops(name, "fp32")) == KNOWN[name]


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_name_that_only_resembles_one_is_unknown(name: str) -> None:
    assert peak_tflops(name, "bf16") is None
    assert peak_tflops(name, "fp32") is None


@pytest.mark.parametrize("name", KNOWN)
def test_no_name_is_that_of_two_chips(name: str) -> None:
    short = name.removeprefix("NVIDIA ").removeprefix("AMD Instinct ").removeprefix("Tesla ").removeprefix("GeForce ")
    assert len([chip for chip in CHIPS if re.fullmatch(chip.name, short, re.IGNORECASE)]) == 1


def test_products_in_bf16_are_the_faster_ones() -> None:
    """Halved or doubled figures (with sparsity, say) would show: a chip's bf16 is 2 to 33 times its float32."""
    for chip in CHIPS:
        assert chip.bf16 is None or 1.9 < chip.bf16 / chip.fp32 < 33.4, chip.name
