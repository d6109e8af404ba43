"""Pages and samples that must say what the CRD says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import irismodel_page
from iris_operator.spec import IrisModelSpec
from versions import committed_card

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "k8s" / "samples").glob("*.yaml"))


def test_the_reference_page_is_the_one_the_crd_makes() -> None:
    assert irismodel_page.PAGE.read_text() == irismodel_page.page(), "run python tests/irismodel_page.py"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_a_sample_can_be_honoured_and_names_a_version_that_is_there(sample: Path) -> None:
    body = yaml.safe_load(sample.read_text())
    body["metadata"] |= {"namespace": "ns", "uid": "u"}
    spec = IrisModelSpec.from_body(body)
    assert spec.model.digest == committed_card(spec.model.version).artifacts[spec.model.format].digest  # type: ignore[index]


def test_there_are_samples() -> None:
    assert len(SAMPLES) >= 4
