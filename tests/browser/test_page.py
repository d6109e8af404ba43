"""The page at / in a real Chromium, over real processes: what a person sees, does, and is told when it cannot serve."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from api_client import GETPRED, RESULT
from browser.accessibility import is_accessible
from browser.prefix import behind_a_prefix
from browser.served import Served, Visit

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
NAME_OF_FOCUSED = "(({ ariaLabel, textContent, id }) => ariaLabel || textContent || id)(document.activeElement)"


def slider(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=name, exact=True)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def shows(page: Page, species: str) -> None:
    """Wait until the answer to the newest values is there, and is this one."""
    expect(page.locator("#verdict")).to_have_text(f"Iris {species}")
    expect(page.locator("#answer")).not_to_have_class("stale")


def values(page: Page) -> dict[str, str]:
    return {name: page.locator(f"#{name}").input_value() for name in FEATURES}


def asked_directly(served: Served, flower: dict[str, str]) -> list[dict[str, str]]:
    with httpx.Client(base_url=served.url, timeout=30) as http:
        job_id = http.get(GETPRED, params=flower).json()["job_id"]
        result: list[dict[str, str]] = http.get(f"{RESULT}/{job_id}", params={"wait": 20}).json()["result"]
        return result


def bars(page: Page) -> list[dict[str, str]]:
    """What the bars say in words, after checking that they are as long as they say."""
    found = []
    for row in page.locator("#bars li").all():
        name, probability = row.inner_text().split()
        length, full = row.locator(".bar").evaluate(
            "bar => [bar.firstChild.getBoundingClientRect().width, bar.getBoundingClientRect().width]"
        )
        assert abs(length / full - float(probability)) < 0.01
        found.append({"class": name, "probability": probability})
    return found


def extent(drawn: Locator) -> tuple[float, float]:
    """Height and width in cm."""
    height, width = drawn.evaluate("path => { const { height, width } = path.getBBox(); return [height, width]; }")
    return height, width


def fits(page: Page) -> None:
    """Nothing is wider than the screen, or than its card."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cards = page.locator("main > section, main > form")
    assert cards.count() == 5
    assert [
        card.inner_text() for card in cards.all() if card.evaluate("card => card.scrollWidth > card.clientWidth")
    ] == []


def test_a_slider_moved_by_keyboard_changes_the_class(visit: Visit, served: Served) -> None:
    with visit() as page:
        press(page, "a typical setosa")
        shows(page, "setosa")
        for name in ("petal length", "petal width"):
            slider(page, name).focus()
            page.keyboard.press("End")
        shows(page, "virginica")
        assert values(page)["petal_length"] == "7.5", "the training range and a tenth of it"
        assert bars(page) == asked_directly(served, values(page))


def test_the_bars_are_the_answer_of_the_api(visit: Visit, served: Served) -> None:
    with visit() as page:
        press(page, "one between two")
        shows(page, "versicolor")
        answer = asked_directly(served, values(page))
        assert bars(page) == answer
        assert len([share for share in answer if 0.3 < float(share["probability"]) < 0.7]) == 2


def test_the_flower_is_drawn_to_the_measurements(visit: Visit) -> None:
    with visit() as page:
        press(page, "a typical virginica")
        for part, size in (("sepal", (6.8, 3.0)), ("petal", (5.5, 2.1))):
            for blade in page.locator(f"#drawing .{part} .blade").all():
                assert extent(blade) == pytest.approx(size, abs=0.01)
        for name, text in zip(FEATURES, ("6.8 cm", "3.0 cm", "5.5 cm", "2.1 cm"), strict=True):
            line = page.locator(f"#drawing .dimension.{name}")
            assert line.text_content() == f"{name.replace('_', ' ')}{text}"
            ticks = 0.32
            assert max(extent(line.locator(".rule"))) == pytest.approx(float(text[:3]) + ticks, abs=0.01)
        name = "An iris seen from above: sepals 6.8 cm long and 3.0 cm wide, petals 5.5 cm long and 2.1 cm wide"
        expect(page.get_by_role("img", name=name)).to_be_visible()


def test_a_long_number_stays_in_its_field_and_card(visit: Visit) -> None:
    with visit() as page:
        shows(page, "versicolor")
        field = page.get_by_role("spinbutton", name="sepal length in cm, exactly")
        field.fill("5.3456789012")
        field.press("Enter")
        expect(page.locator("#drawing .dimension.sepal_length .value")).to_have_text("5.35 cm")
        assert field.evaluate("field => field.scrollWidth <= field.clientWidth")
        fits(page)


def test_the_life_of_the_job_is_told_with_its_times(visit: Visit) -> None:
    with visit() as page:
        shows(page, "versicolor")
        steps = page.locator("#life li")
        for step, name in zip(steps.all(), ("accepted at", "waiting for", "running for", "done at"), strict=True):
            expect(step).to_have_attribute("data-state", "past")
            word, preposition = name.split()
            assert re.search(rf"^{word}\s[\s\S]*{preposition} [\d.]+ m?s$", step.inner_text())
        accepted, waiting, running, done = (milliseconds(step.inner_text()) for step in steps.all())
        rounding = 0.02 * done + 0.5
        assert accepted + waiting + running <= done + rounding, "the times add up"
        expect(page.locator("#job")).to_have_text(re.compile("^Job [0-9a-f]{32}$"))
        expect(page.locator("#by")).to_have_text(re.compile(r"^Answered by iris version 1 in [\d.]+ m?s\.$"))


def milliseconds(text: str) -> float:
    number, unit = text.split()[-2:]
    return float(number) * {"ms": 1, "s": 1000}[unit]


def test_the_route_and_the_depth_of_the_queue_are_shown(visit: Visit) -> None:
    with visit() as page:
        expect(page.locator("#state")).to_have_text("Model iris: the queue is up, 0 waiting, 0 running.")
        row = page.locator("#versions tr")
        expect(row).to_have_count(1)
        assert row.inner_text().split()[:5] == ["1", "100", "%", "0", "0"]


def test_recent_predictions_can_be_taken_up_again(visit: Visit) -> None:
    with visit() as page:
        for species in ("setosa", "virginica"):
            shows_nothing_else_yet(page)
            press(page, f"a typical {species}")
            shows(page, species)
        entries = page.locator("#past li")
        expect(entries.first).to_contain_text("Iris virginica 1.000")
        page.get_by_role("button", name="Use 5.0, 3.4, 1.5, 0.2 again, Iris setosa").click()
        shows(page, "setosa")
        expect(entries.first).to_contain_text("5.0 · 3.4 · 1.5 · 0.2")


def shows_nothing_else_yet(page: Page) -> None:
    """Answers within 0.7 s of each other are one gesture, and one entry."""
    page.wait_for_timeout(800)


def test_one_job_at_a_time_and_the_newest_values_win(visit: Visit) -> None:
    calls: list[str] = []

    def begins(request: Request) -> None:
        if "/getpred?" in request.url:
            calls.append(request.url)

    def ends(request: Request) -> None:
        if "/result/" in request.url:
            calls.append("answered")

    with visit() as page:
        shows(page, "versicolor")
        page.on("request", begins)
        page.on("requestfinished", ends)
        slider(page, "petal length").focus()
        page.keyboard.press("Home")
        for _ in range(60):
            page.keyboard.press("ArrowRight")
        shows(page, "virginica")
        submitted, answers = calls[::2], calls[1::2]
        assert set(answers) == {"answered"}, "the next job waits for the answer of the one before"
        assert 2 <= len(submitted) < 61
        assert "petal_length=6.4&" in submitted[-1]


def test_without_the_queue_it_says_so_and_recovers_by_itself(visit: Visit, served: Served) -> None:
    with visit(refusals=(503,)) as page:
        shows(page, "versicolor")
        served.valkey.kill()
        try:
            press(page, "a typical setosa")
            alert = page.get_by_role("alert")
            expect(alert).to_have_text("503 QUEUE_UNAVAILABLE: the queue cannot be used right now.")
            expect(page.locator("#request")).to_have_text(re.compile("^request [0-9a-f]{32}$"))
            expect(page.get_by_text(re.compile(r"^Trying again in \d+ s\.$"))).to_be_visible()
            expect(page.locator("#accepted")).to_contain_text("not accepted")
            expect(page.locator("#state")).to_have_text("Model iris: the queue cannot be used right now.")
            press(page, "a typical virginica")  # the newest values are the ones that will be sent
            is_accessible(page)
        finally:
            served.valkey.start()
        shows(page, "virginica")
        expect(alert).to_be_hidden()
        expect(page.locator("#state")).to_contain_text("the queue is up")


def test_a_slow_job_says_what_it_waits_for(visit: Visit, served: Served) -> None:
    with visit(reduced_motion="reduce") as page:
        shows(page, "versicolor")
        worker = served.worker()
        worker.suspend()
        try:
            press(page, "a typical setosa")
            expect(page.locator("#waiting")).to_have_text(re.compile(r"\d\.\d s so far$"))
            expect(page.locator("#waiting")).to_have_attribute("aria-current", "step")
            expect(page.locator("#job")).to_contain_text("worker")
            expect(page.locator("#answer")).to_have_class("stale")
            dot = "step => getComputedStyle(step, '::before').animationName"
            assert page.locator("#waiting").evaluate(dot) == "none", "who asked for less motion gets none"
        finally:
            worker.resume()
        shows(page, "setosa")
        expect(page.locator("#job")).to_have_text(re.compile("^Job [0-9a-f]{32}$"))


def test_a_value_that_is_refused_is_named_at_its_field(visit: Visit) -> None:
    with visit(refusals=(422,)) as page:
        shows(page, "versicolor")
        field = page.get_by_role("spinbutton", name="petal width in cm, exactly")
        field.fill("42")
        field.press("Enter")
        sentence = "petal_width must be a number from 0 to 30 cm"
        expect(page.get_by_role("alert")).to_contain_text(f"422 INVALID_INPUT: {sentence}")
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(sentence)
        expect(page.locator("#by")).to_have_text("Of the values before: there is no answer to these yet.")
        is_accessible(page)
        press(page, "Close this message")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(field).to_have_accessible_description(sentence)
        field.fill("2.1")
        field.press("Enter")
        expect(page.locator("#by")).to_contain_text("Answered by")
        expect(field).to_have_attribute("aria-invalid", "false")
        expect(slider(page, "petal width")).to_have_attribute("aria-valuetext", "2.1 cm")


def test_a_key_is_asked_for_and_kept_in_the_tab_only(visit: Visit) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer open-sesame":
            route.fallback()
        else:
            body = '{"code": "UNAUTHENTICATED", "status": "error", "error": "an API key is needed", "request_id": "r1"}'
            route.fulfill(status=401, content_type="application/json", body=body)

    with visit(route=guarded, refusals=(401,)) as page:
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        alert = page.get_by_role("alert")
        expect(alert).to_have_text("This service asks for a key.")
        expect(page.locator("#flower")).to_be_hidden()
        is_accessible(page)
        key.fill("\u201copen-sesame\u201d")
        key.press("Enter")
        expect(alert).to_have_text("This key has characters that no key has.")
        key.fill("wrong")
        key.press("Enter")
        expect(alert).to_have_text("401 UNAUTHENTICATED: an API key is needed.")
        expect(page.locator("#request")).to_have_text("request r1")
        expect(key).to_be_focused()
        key.fill(" open-sesame ")
        key.press("Enter")
        shows(page, "versicolor")
        expect(page.get_by_role("alert")).to_be_hidden()
        assert page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [1, 0, ""]
        press(page, "Forget API key")
        press(page, "a typical setosa")
        expect(key).to_be_focused()


def test_a_service_that_allows_shorter_waits_is_asked_for_them(visit: Visit) -> None:
    waits: list[str] = []

    def impatient(route: Route) -> None:
        if "wait=" in route.request.url:
            waits.append(route.request.url.rpartition("=")[2])
        if waits and int(waits[-1]) > 4:
            body = '{"code": "INVALID_INPUT", "error": "wait must be a number from 0 to 4 seconds", "field": "wait"}'
            route.fulfill(status=422, content_type="application/json", body=body)
        else:
            route.fallback()

    with visit(route=impatient, refusals=(422,)) as page:
        shows(page, "versicolor")
        assert waits == ["10", "5", "2"]


def test_another_model_gets_its_own_sliders_and_no_flower(visit: Visit, served: Served) -> None:
    described = httpx.get(f"{served.url}iris/api/v1.0/model").json()
    described["model"] = "wine"
    described["features"] = [
        {
            "name": "alcohol", "unit": "%", "minimum": 0.0, "maximum": 100.0,
            "training": {"minimum": 11.03, "maximum": 14.83, "mean": 13.0},
        },
    ]  # fmt: skip

    def other(route: Route) -> None:
        if route.request.url.endswith("/model"):
            route.fulfill(json=described)
        else:
            route.fallback()

    with visit(route=other, refusals=(422,)) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("What does wine say?")
        expect(slider(page, "alcohol")).to_have_attribute("aria-valuetext", "13.0 %")
        limits = slider(page, "alcohol").evaluate("({ min, max, step }) => [min, max, step]")
        assert limits == ["10.6", "15.3", "0.1"]
        expect(page.locator("#flower")).to_be_hidden()
        expect(page.get_by_role("alert")).to_contain_text("alcohol is not a feature of this model")
        nothing = page.get_by_text("None yet: move a slider.").bounding_box()
        assert nothing is not None
        assert nothing["height"] < 30, "one line"


def test_without_scripts_the_page_says_what_to_type(visit: Visit) -> None:
    with visit(java_script_enabled=False) as page:
        assert "The sliders need JavaScript" in page.locator("noscript p").inner_text()
        assert "getpred?sepal_length=5.1" in page.locator("noscript pre").inner_text()
        expect(page.locator("noscript pre")).to_be_visible()
        expect(page.get_by_role("main")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_in_light_and_dark(visit: Visit, scheme: str) -> None:
    with visit(color_scheme=scheme) as page:
        shows(page, "versicolor")
        lightness = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0]
        assert (int(lightness) > 128) == (scheme == "light")
        is_accessible(page)
        fits(page)


def test_everything_is_reached_by_keyboard_in_reading_order(visit: Visit) -> None:
    with visit() as page:
        shows(page, "versicolor")
        reached = []
        for _ in range(15):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(NAME_OF_FOCUSED))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", f"{reached[-1]} does not show that it has the focus"
        titles = [name.replace("_", " ") for name in FEATURES]
        assert reached == [
            "API", "OpenAPI",
            *(part for title, name in zip(titles, FEATURES, strict=True) for part in (f"{title} in cm, exactly", name)),
            "a typical setosa", "a typical versicolor", "a typical virginica", "one between two",
            "Use 5.8, 3.1, 3.8, 1.2 again, Iris versicolor",
        ]  # fmt: skip


def test_what_is_answered_is_spoken_once_it_has_settled(visit: Visit) -> None:
    with visit() as page:
        expect(page.get_by_role("status")).to_have_text(re.compile(r"^Iris versicolor, probability [01]\.\d{3}\.$"))
        press(page, "a typical setosa")
        expect(page.get_by_role("status")).to_have_text("Iris setosa, probability 1.000.")


def test_it_fits_a_narrow_screen_and_keeps_the_answer_in_sight(visit: Visit) -> None:
    with visit(viewport={"width": 360, "height": 740}, refusals=(422,), has_touch=True) as page:
        shows(page, "versicolor")
        fits(page)
        for name in ("petal length", "petal width"):
            slider(page, name).focus()
            page.keyboard.press("End")
        expect(page.locator("#pinned")).to_contain_text("Iris virginica")
        expect(page.locator("#pinned")).to_be_in_viewport(ratio=1)
        page.get_by_role("spinbutton", name="sepal length in cm, exactly").fill("-1")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
        fits(page)
        is_accessible(page)


def test_it_works_below_a_path_prefix(visit: Visit, served: Served) -> None:
    with behind_a_prefix(served.url, "/flowers/iris/") as url, visit(url=url) as page:
        shows(page, "versicolor")
        expect(page.locator("#curl")).to_contain_text(f"{url}iris/api/v1.0/getpred?sepal_length=5.8")
