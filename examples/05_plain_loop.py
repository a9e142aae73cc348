"""The functions in a plain PyTorch loop, against an exact answer: least squares on scikit-learn's diabetes data.

For least squares the covariance of the gradient is a sum over the 442 patients, so the temperature of stochastic
gradient descent, eta tr(Sigma) / (2 N), can be computed exactly and compared with what a window of steps shows.
"""

import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from thermo_callbacks.functional import kinetic_temperature_contributions, mean_estimate

LEARNING_RATE, BATCH, STEPS = 0.02, 16, 4000


def main() -> None:
    """Train, measure, compare."""
    features, target = (torch.tensor(scale(part)) for part in load_diabetes(return_X_y=True))
    generator = torch.Generator().manual_seed(0)
    # start at the solution: the temperature is that of the noise, not of the way there
    weights = torch.linalg.lstsq(features, target[:, None]).solution[:, 0].requires_grad_()
    optimizer = torch.optim.SGD([weights], lr=LEARNING_RATE)
    displacements, gradients, exact = [], [], []
    for _ in range(STEPS):
        residuals = (features @ weights - target).detach()
        per_sample = 2 * residuals[:, None] * features
        exact.append(LEARNING_RATE * per_sample.var(0, correction=0).sum() / BATCH / (2 * weights.numel()))
        batch = torch.randint(len(target), (BATCH,), generator=generator)
        optimizer.zero_grad()
        (features[batch] @ weights - target[batch]).square().mean().backward()
        before = weights.detach().clone()
        optimizer.step()
        gradients.append(weights.grad.clone())
        displacements.append(weights.detach() - before)
    contributions = kinetic_temperature_contributions(torch.stack(displacements), torch.stack(gradients))
    measured = mean_estimate(contributions)
    low, high = measured.interval()
    print(f"measured {measured.value:.6f} (95 % interval {low:.6f} to {high:.6f})")
    print(f"exact    {torch.stack(exact).mean():.6f}")


if __name__ == "__main__":
    main()
