"""What an estimate with a surrogate reports: c(z~), its correlation with f(b), its terms."""

import pytest
import torch

import relax as rx
from tests.helpers import distribution, quadratic, smooth_surrogate

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("name", ["relax", "lax", "dlax"])
def test_the_terms_of_an_estimate_need_no_second_evaluation(name, coupled):
    dist = distribution("normal" if name == "lax" else "bernoulli").expand(30)
    calls = []

    def counted(kind, function):
        return lambda x: calls.append(kind) or function(x)

    c = smooth_surrogate(distribution("normal" if name == "lax" else "bernoulli"))
    own = {"coupled": coupled} if name == "relax" else {}
    estimator = getattr(rx, name)
    est = estimator(counted("f", quadratic), dist, c=counted("c", c), samples=2, **own)
    assert sorted(calls) == ["c", "f"]
    terms, draw = est.terms, est.draw
    torch.testing.assert_close(sum(terms.values()), est.grad.detach())
    seen = draw.z_tilde if name == "relax" else draw.z
    torch.testing.assert_close(est.c, c(seen.detach()))
    both = torch.stack([est.value.flatten(), est.c.flatten()])
    torch.testing.assert_close(est.correlation, torch.corrcoef(both)[0, 1])
    reinforce = rx.reinforce(est.value, draw).grad
    torch.testing.assert_close(terms["f_score"], reinforce)
    if name != "dlax":
        torch.testing.assert_close(terms["c_score"], -rx.reinforce(est.c, draw).grad)
    assert sorted(calls) == ["c", "f"]


def test_an_estimate_without_a_surrogate_says_so():
    est = rx.reinforce(quadratic, rx.Bernoulli(torch.zeros(4, 3)))
    with pytest.raises(AttributeError, match="no surrogate"):
        est.c  # noqa: B018
