"""/metrics over the fakes: who may read it, and what strangers can make of its labels."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.api.serving import Served


def requests(server: Served) -> dict[tuple[str, str, str], float]:
    reply = server.get("/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
        if sample.name == "runner_http_requests_total"
    }


def test_requests_count_by_pattern_and_status(server: Served) -> None:
    for name in ("demo", "missing", "a/b:c"):
        server.get(f"/v1/models/{name}")
    server.post("/api/chat", {"model": "busy", "messages": [{"role": "user", "content": "Hi"}]})
    seen = requests(server)
    assert sum(count for (_, route, _), count in seen.items() if route == "/v1/models/{name}") == 3
    assert seen["POST", "/api/chat", "503"] == 1
    assert ("GET", "/metrics", "200") not in seen  # this one hasn't ended yet
    assert requests(server)["GET", "/metrics", "200"] == 1


def test_strangers_make_no_labels(server: Served) -> None:
    for path in ("/wp-login.php", "/api/../etc/passwd", "/" + "x" * 500, "/v1/nothing"):
        assert server.get(path).status == 404
    server.ask("BREW", "/api/chat")
    server.ask("PROPFIND", "/")
    seen = requests(server)
    assert {route for _, route, _ in seen} <= {"other", "/api/chat", "/"}
    assert {method for method, _, _ in seen} == {"GET", "other"}


def test_the_key_and_the_host_are_asked_for_here_too() -> None:
    with Served(api_key="secret") as server:
        assert server.get("/metrics").status == 401
        assert server.get("/metrics", Authorization="Bearer secret").status == 200
        assert server.get("/metrics", Authorization="Bearer secret", Host="example.org").status == 403
