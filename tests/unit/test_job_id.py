"""Ids that say whose they are."""

from __future__ import annotations

import re

import pytest

from iris_service.jobs.job_id import belongs_to, id_of_key, new_id

CALLERS = ["shop", "shop2", "system:serviceaccount:shop:checkout", "ünï·code", "x" * 1000, "a\0b"]


@pytest.mark.parametrize("caller", [None, *CALLERS])
def test_an_id_is_32_hexadecimal_digits_and_never_the_same(caller: str | None) -> None:
    ids = {new_id(caller) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", job_id) for job_id in ids)


@pytest.mark.parametrize("caller", CALLERS)
def test_a_job_belongs_to_the_caller_it_was_made_for_and_to_no_other(caller: str) -> None:
    job_id = new_id(caller)
    assert [name for name in CALLERS if belongs_to(job_id, name)] == [caller]


def test_a_job_of_an_anonymous_caller_belongs_to_no_name() -> None:
    assert not any(belongs_to(new_id(None), name) for name in CALLERS)


def test_where_nobody_has_a_name_whoever_has_the_id_has_the_job() -> None:
    assert belongs_to(new_id(None), None)
    assert belongs_to(new_id("shop"), None)


@pytest.mark.parametrize("position", range(32))
def test_an_id_with_one_digit_changed_is_not_his(position: int) -> None:
    job_id = new_id("shop")
    changed = format((int(job_id[position], 16) + 1) % 16, "x")
    assert not belongs_to(job_id[:position] + changed + job_id[position + 1 :], "shop")


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "0" * 32 + "\n", "G" * 32, "A" * 32, "٣" * 32, "\0" * 32])
@pytest.mark.parametrize("caller", [None, "shop"])
def test_what_is_no_id_belongs_to_nobody(text: str, caller: str | None) -> None:
    assert not belongs_to(text, caller)


@pytest.mark.parametrize("caller", [None, *CALLERS])
def test_a_key_leads_to_the_same_id_again(caller: str | None) -> None:
    job_id = id_of_key(b"order-7", caller)
    assert job_id == id_of_key(b"order-7", caller)
    assert belongs_to(job_id, caller)
    assert job_id != id_of_key(b"order-8", caller)


def test_a_key_of_one_caller_leads_to_no_job_of_another() -> None:
    callers = [None, "", *CALLERS]
    assert len({id_of_key(b"order-7", caller) for caller in callers}) == len(callers)
    assert len({id_of_key(key, caller)[:20] for caller, key in (("ab", b"c"), ("a", b"bc"), ("", b"abc"))}) == 3
