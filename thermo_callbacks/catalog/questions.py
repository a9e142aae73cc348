"""The questions that the charts of a run help to answer, in the order of the page."""

from __future__ import annotations

RATE = "Is the learning rate right?"
EQUILIBRIUM = "Is the run in equilibrium?"
TEMPERATURE = "How hot is the run, and which layer is hottest?"
LOSS = "Where does the loss go, and which layer lowers it?"
VITALS = "Does every layer learn, and in steps of the right size?"
ENTROPY = "Where does the entropy go?"
ACTIVATIONS = "Which activation wastes work?"
CURVATURE = "How curved is the loss, and in which layer?"
NOISE = "Signal or noise: is the batch large enough?"
FREE_ENERGY = "What is the free energy made of, and what does a nat cost?"
NEURONS = "The neurons as a gas: how stiff, and how agitated?"

QUESTIONS = (
    RATE,
    EQUILIBRIUM,
    TEMPERATURE,
    LOSS,
    VITALS,
    ENTROPY,
    ACTIVATIONS,
    CURVATURE,
    NOISE,
    FREE_ENERGY,
    NEURONS,
)
