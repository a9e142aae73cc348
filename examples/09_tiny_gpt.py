"""A tiny GPT on Shakespeare's Hamlet, character by character: what the numbers say of a transformer.

Two blocks of width 64 with causal attention and GELU are trained by AdamW. The monitor gives each layer a temperature
and a part of the Laplacian: the trace of the Hessian of the loss over the layer's weights, here with probes of the
layer's own, which cost one more product with the Hessian a layer and have far smaller errors. The GELUs are read as
heat engines, beside what a GELU does to normal inputs of unit variance. Embeddings and layer norms are layers too.

Found after 800 steps, with each of three seeds: the first block and the head hold four fifths of the Laplacian, the
first block more than twice as much as the second, embeddings and norms next to nothing. The norms of the first block,
the last norm and the head are more than twice as hot as the mean. Both GELUs pass on less than at the start, and less
than from a normal input: training has made their inputs negative on average, of which a GELU passes on little.

    python examples/09_tiny_gpt.py            # about a minute
    python examples/09_tiny_gpt.py --quick    # a quarter of the steps
"""

import argparse
import math
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from torch.utils.data import DataLoader, Dataset

from thermo_callbacks import FreeEnergyMonitor, WorkEfficiencyMonitor
from thermo_callbacks.functional import gaussian_efficiency

TEXT = Path(__file__).parent / "data" / "shakespeare.txt"
CONTEXT, WIDTH, HEADS, BLOCKS, BATCH = 64, 64, 4, 2, 16


class Characters(Dataset):
    """Pieces of the text as numbers, each with the piece that begins one character later."""

    def __init__(self, text: str, pieces: int) -> None:
        self.alphabet = sorted(set(text))
        places = {character: place for place, character in enumerate(self.alphabet)}
        self.text = torch.tensor([places[character] for character in text])
        generator = torch.Generator().manual_seed(0)
        self.starts = torch.randint(len(text) - CONTEXT, (pieces,), generator=generator).tolist()

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        start = self.starts[index]
        return self.text[start : start + CONTEXT], self.text[start + 1 : start + CONTEXT + 1]


class Block(nn.Module):
    """Causal attention and a network of two layers, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, states: Tensor) -> Tensor:
        """States of all places, from those before."""
        heads = [part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm1(states)).chunk(3, -1)]
        attended = scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
        states = states + self.out(attended)
        return states + self.mlp(self.norm2(states))


class TinyGPT(pl.LightningModule):
    """Predicts the next character."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(symbols, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(BLOCKS)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, symbols)

    def forward(self, pieces: Tensor) -> Tensor:
        """Logits of the next character at each place."""
        states = self.token(pieces) + self.place.weight[: pieces.shape[1]]
        return self.head(self.norm(self.blocks(states)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy, in nats a character."""
        pieces, following = batch
        return cross_entropy(self(pieces).flatten(0, 1), following.flatten())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=2e-3, weight_decay=0.01)


def table(latest: dict[str, float]) -> None:
    """A row for each layer, in the order of the network."""
    print(f"{'layer':18s} {'temperature':>12s} {'Laplacian':>22s}")
    for tag, temperature in latest.items():
        family, _, layer = tag.partition("/")
        if family == "thermo_temperature":
            value, stderr = (latest[f"{name}/{layer}"] for name in ("thermo_laplacian", "thermo_laplacian_stderr"))
            print(f"{layer:18s} {temperature:12.2e} {value:10.2f} +- {stderr:8.2f}")


def shares(latest: dict[str, float]) -> None:
    """Where the Laplacian lies."""
    total = latest["thermo/laplacian"]
    for start in ("token", "place", "blocks.0", "blocks.1", "norm", "head"):
        part = sum(value for tag, value in latest.items() if tag.startswith(f"thermo_laplacian/{start}"))
        print(f"{start:18s} {part / total:6.1%} of the Laplacian")


def main(quick: bool) -> None:
    """Train, and print what the monitors saw."""
    pl.seed_everything(0, verbose=False)
    steps = 200 if quick else 800
    data = Characters(TEXT.read_text(encoding="ascii"), steps * BATCH)
    state = FreeEnergyMonitor(within_layers=True)
    engines = WorkEfficiencyMonitor()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[state, engines],
    )
    model = TinyGPT(len(data.alphabet))
    trainer.fit(model, DataLoader(data, batch_size=BATCH))
    latest = state.latest() | engines.latest()
    print(
        f"loss {latest['thermo/internal_energy']:.3f} nats a character, {math.log(len(data.alphabet)):.3f} for a guess"
    )
    print(f"temperature {latest['thermo/temperature']:.2e} +- {latest['thermo/temperature_stderr']:.1e}")
    print(f"Laplacian {latest['thermo/laplacian']:.1f} +- {latest['thermo/laplacian_stderr']:.1f}\n")
    table(latest)
    print()
    shares(latest)
    print(f"\n{'activation':18s} {'work':>7s} {'learning':>9s} {'dead':>6s}")
    for tag, work in latest.items():
        family, _, module = tag.partition("/")
        if family == "thermo_work_efficiency":
            learning, dead = (latest[f"thermo_{name}/{module}"] for name in ("learning_efficiency", "dead_fraction"))
            print(f"{module:18s} {work:7.3f} {learning:9.3f} {dead:6.1%}")
    normal = gaussian_efficiency(nn.GELU())
    print(f"{'normal input':18s} {normal.work:7.3f} {normal.learning:9.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps")
    torch.set_num_threads(1)
    main(parser.parse_args().quick)
