"""What may be wrong with a run: the words that a verdict is compared with."""

from __future__ import annotations

CAUSES = {
    "rate too high": "Steps overshoot: the loss swings or diverges.",
    "rate too low": "Steps are so small that the run ends long before it has learned.",
    "decayed too early": "The rate is next to nothing while there is much to learn.",
    "no warm-up": "The first steps are too large for this network and spoil it.",
    "batch too small": "The noise of the batches keeps the run from settling at this rate.",
    "dead units": "Units that are off for all inputs.",
    "saturated units": "Units at the flat ends of their function for all inputs.",
    "vanishing signal": "What goes forward or back shrinks from layer to layer.",
    "exploding signal": "What goes forward or back grows from layer to layer.",
    "layer not trained": "A layer that no step changes: frozen, detached, or not given to the optimizer.",
    "layer rate too high": "One layer moves far more than the others.",
    "weight decay too strong": "Decay, not the loss, decides the size of the weights.",
    "clipping too strong": "Every gradient is cut, so the limit decides the length of the steps.",
    "input scale": "Inputs are far from the size that the weights were made for.",
    "wrong labels": "Targets have little to do with the inputs, all of them or some.",
    "wrong loss": "The loss is not the one that the outputs are made for.",
    "wrong sign": "The run climbs the loss.",
    "gradients not zeroed": "Gradients of earlier steps are part of each step.",
    "batch norm in eval mode": "Layers normalise with statistics that are not those of the data.",
    "momentum too high": "The memory of the optimizer is as long as the run.",
    "broken data": "Some inputs are no numbers.",
    "data shift": "The data change during the run.",
    "optimizer constants": "A constant of the optimizer, other than its rate, stifles it or makes it restless.",
    "loss not a mean": "The loss, and so the step, grows with the batch.",
    "unshuffled data": "Samples that follow each other are alike.",
    "dropout too strong": "Next to nothing of the signal is let through.",
    "overfitting": "The training data are known by heart and the test data are not.",
    "discriminator won": "The discriminator is so sure that the generator gets no gradient.",
}
"""What each cause means, by its name."""
