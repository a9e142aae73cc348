"""The questions that the charts of a run help to answer, in the order of the page."""

from __future__ import annotations

RATE = "Is the rate right?"
BATCH = "Is the batch right?"
LAYERS = "Which layer is in trouble?"
CURVATURE = "How curved is the loss, and in which layer?"
EQUILIBRIUM = "Is the run in equilibrium?"
LOSS = "Where does the loss go, and which layer lowers it?"
ACTIVATIONS = "Which activation wastes work?"
TEMPERATURE = "How hot is the run, and which layer is hottest?"
ENTROPY = "Where does the entropy go?"
FREE_ENERGY = "What is the free energy made of, and what does a nat cost?"
NEURONS = "The neurons as a gas: how stiff, and how agitated?"

# what somebody can act on comes first; physics after it
QUESTIONS = (
    RATE,
    BATCH,
    LAYERS,
    CURVATURE,
    EQUILIBRIUM,
    LOSS,
    ACTIVATIONS,
    TEMPERATURE,
    ENTROPY,
    FREE_ENERGY,
    NEURONS,
)
