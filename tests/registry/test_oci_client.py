"""The client for container registries: what it believes, how it proves who it is, and who gets to see the proof."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from registry.digests import Digest, digest_of
from registry.errors import Denied, HashMismatch, NotFound, RegistryError, Unreachable
from registry.oci.auth import _belong_together
from registry.oci.challenges import Challenge, challenges
from registry.oci.client import RegistryClient
from registry.oci.credentials import Credential
from registry.transfer.http import Http
from tests.oci_registry import Registry, running
from tests.registry.registries import ALICE, certificate, docker_config, name_hosts

SECRETS = ("s3cret", ALICE.removeprefix("Basic "), "token0", "identity0")


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(timeout=5) as opened:
        yield opened


@pytest.fixture
def served() -> Iterator[Registry]:
    with running(Registry()) as registry:
        yield registry


def read(client: RegistryClient, digest: str, start: int = 0, stop: int | None = None) -> bytes:
    with client.open_blob(Digest.parse(digest))(start, stop) as incoming:
        assert incoming.start == start
        return b"".join(incoming.chunks)


def leaks(registry: Registry) -> list[str]:
    """Which secrets a server saw."""
    return [secret for secret in SECRETS if any(secret in each.secrets for each in registry.requests)]


def test_a_manifest_is_what_its_digest_says(http: Http, served: Registry, tmp_path: Path) -> None:
    data = b'{"schemaVersion": 2}'
    digest = served.add_manifest("a/b", "1", data)
    client = RegistryClient(http, served.host, "a/b", docker_config=tmp_path)
    assert client.manifest("1") == (data, "application/vnd.oci.image.manifest.v1+json", digest_of(data))
    assert client.manifest(Digest.parse(digest))[0] == data
    served.digest_header = str(digest_of(b"other"))
    with pytest.raises(HashMismatch):
        client.manifest("1")
    served.digest_header = None
    other = digest_of(b"other")
    served.manifests["a/b", str(other)] = (data, "")
    with pytest.raises(HashMismatch):
        client.manifest(other)
    served.add_manifest("a/b", "huge", b" " * (5 << 20))
    with pytest.raises(Unreachable, match="more than"):
        client.manifest("huge")
    with pytest.raises(NotFound, match=r"a/b:2.*not known"):
        client.manifest("2")


def test_tags_come_in_pages_and_only_from_the_registry(http: Http, served: Registry, tmp_path: Path) -> None:
    for index in range(7):
        served.add_manifest("a/b", f"t{index}", b"{}")
    served.page = 3
    client = RegistryClient(http, served.host, "a/b", docker_config=tmp_path)
    assert client.tags() == tuple(f"t{index}" for index in range(7))
    assert len(served.asked("/tags/list")) == 3
    for nonsense in (b"[]", b'{"tags": 1}', b'{"tags": [1]}', b"\xff", b'{"errors": []}'):
        served.answers["/v2/a/b/tags/list"] = (200, {}, nonsense)
        with pytest.raises(Unreachable, match="makes no sense"):
            client.tags()
    served.answers["/v2/a/b/tags/list"] = (200, {"Link": '</v2/a/b/tags/list>; rel="next"'}, b'{"tags": ["x"]}')
    before = len(served.requests)
    assert client.tags() == ("x",)  # a list that has no end, ended
    assert len(served.requests) - before < 4


def test_a_blob_comes_from_any_place_on(http: Http, served: Registry, tmp_path: Path) -> None:
    digest = served.add_blob(b"0123456789")
    client = RegistryClient(http, served.host, "a/b", docker_config=tmp_path)
    assert read(client, digest) == b"0123456789"
    assert read(client, digest, 4) == b"456789"
    assert read(client, digest, 4, 6) == b"45"
    served.blobs[digest].ranges = False
    with client.open_blob(Digest.parse(digest))(4, None) as incoming:
        assert incoming.start == 0  # and says so
    served.blobs[digest].statuses = [503, 429, 404]
    for error, words in ((Unreachable, "503"), (Unreachable, "429"), (NotFound, "trouble")):
        with pytest.raises(error, match=words):
            read(client, digest)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t?x=1,2",service=s,scope="repository:a/b:pull,push"',
            [Challenge("bearer", {"realm": "https://a/t?x=1,2", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            'Negotiate, BEARER realm = "a\\"b" , Basic',
            [Challenge("negotiate"), Challenge("bearer", {"realm": 'a"b'}), Challenge("basic")],
        ),
        ("", []),
        ('=x, "', []),
        ('Bearer realm="unclosed', [Challenge("bearer", {"realm": ""})]),
    ],
)
def test_challenges_are_read_whatever_they_are(header: str, found: list[Challenge]) -> None:
    assert list(challenges([header])) == found


def test_a_password_is_sent_when_it_is_asked_for(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.users = "basic", {"alice": "s3cret"}
    served.add_manifest("a/b", "1", b"{}")
    client = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path, served.host))
    client.manifest("1")
    client.manifest("1")
    assert [each.authorization for each in served.asked("/manifests/")] == [None, ALICE, ALICE]
    stranger = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path / "2", "other.example"))
    with pytest.raises(Denied, match=rf"`docker login {served.host}`"):
        stranger.manifest("1")
    wrong = docker_config(tmp_path / "3", served.host, password="old")
    with pytest.raises(Denied, match=r"refuses .*a/b:1 to alice \(authentication required\)"):
        RegistryClient(http, served.host, "a/b", docker_config=wrong).manifest("1")


def test_a_token_serves_until_it_runs_out_or_is_refused(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.users, served.public = "bearer", {"alice": "s3cret"}, False
    served.add_manifest("a/b", "1", b"{}")
    client = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path, served.host), write=True)
    client.manifest("1")
    client.manifest("1")
    assert len(served.asked("/token")) == 1
    assert served.asked("/token")[0].query == {
        "service": ["tests"],
        "scope": ["repository:a/b:pull,push"],  # ours, whatever the challenge says
        "client_id": ["runner"],
        "account": ["alice"],
    }
    served.tokens.clear()  # the registry has forgotten it
    served.tokens.add("something-else")
    client.manifest("1")
    assert len(served.asked("/token")) == 2
    with client.send("GET", "/v2/a/b/manifests/1", scopes=("repository:c/d:pull",)) as response:
        assert response.status_code == 200
    assert served.asked("/token")[-1].query["scope"] == ["repository:a/b:pull,push", "repository:c/d:pull"]
    served.life = 0
    brief = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path, served.host))
    brief.manifest("1")
    before = len(served.asked("/manifests/"))
    brief.manifest("1")
    assert len(served.asked("/manifests/")) == before + 1  # renewed beforehand, not after a refusal


def test_many_at_once_share_one_token(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.users, served.public = "bearer", {"alice": "s3cret"}, False
    digest = served.add_blob(b"0123456789")
    client = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path, served.host))
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda start: read(client, digest, start), range(6)))[5] == b"56789"
        assert len(served.asked("/token")) == 1
        served.tokens.clear()
        served.tokens.add("something-else")
        list(threads.map(lambda start: read(client, digest, start), range(6)))
    assert len(served.asked("/token")) == 2


def test_an_identity_token_is_exchanged(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.identities, served.public = "bearer", {"identity0"}, False
    served.add_manifest("a/b", "1", b"{}")
    auths = {served.host: {"auth": "YWxpY2U6", "identitytoken": "identity0"}}
    client = RegistryClient(http, served.host, "a/b", docker_config=docker_config(tmp_path, auths=auths))
    client.manifest("1")
    (asked,) = served.asked("/token")
    assert (asked.method, asked.authorization) == ("POST", None)
    assert asked.body.decode() == (
        "grant_type=refresh_token&refresh_token=identity0&client_id=runner"
        "&scope=repository%3Aa%2Fb%3Apull&service=tests"
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "a\\r\\nX: y"}',
        b'{"token": "a", "expires_in": "x"}',
        b'{"token": "a", "expires_in": NaN}',
        b"[" * 9999,
    ],
)
def test_tokens_that_make_no_sense_are_refused(http: Http, served: Registry, tmp_path: Path, answer: bytes) -> None:
    served.auth, served.token_answer = "bearer", answer
    with pytest.raises(Unreachable, match="makes no sense"):
        RegistryClient(http, served.host, "a/b", docker_config=tmp_path).manifest("1")


def test_a_token_for_longer_than_time_is_one(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.token_answer = "bearer", b'{"token": "a", "expires_in": 1' + b"0" * 400 + b"}"
    with pytest.raises(Denied):  # it isn't one of the registry's, which is all that is wrong with it
        RegistryClient(http, served.host, "a/b", docker_config=tmp_path).tags()


def test_a_registry_that_never_lets_us_in_is_asked_twice_only(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.token_answer = "bearer", b'{"token": "worthless"}'
    with pytest.raises(Denied, match="no such repository, or it is private"):
        RegistryClient(http, served.host, "a/b", docker_config=tmp_path).manifest("1")
    assert len(served.asked("/manifests/")) == 2
    for challenge in ("Negotiate", "nonsense=", 'Bearer realm="ftp://x"', "Bearer", 'Bearer realm="http://u:p@h/"'):
        served.challenge = challenge
        with pytest.raises(Denied):
            RegistryClient(http, served.host, "a/b", docker_config=tmp_path).manifest("1")


REALMS = ("same host", "other port", "sibling", "other host")


@pytest.mark.parametrize("kind", REALMS)
@pytest.mark.parametrize("credential", ["password", "identity"])
def test_only_the_host_itself_sees_the_password_as_realm(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, credential: str
) -> None:
    name_hosts(monkeypatch, "registry.example", "auth.registry.example", "evil.example")
    other = {"other port": "registry.example", "sibling": "auth.registry.example"}.get(kind, "evil.example")
    shared = Registry(users={"alice": "s3cret"}, identities={"identity0"})
    with (
        running(
            Registry(auth="bearer", public=True, tokens=shared.tokens, users=shared.users), name="registry.example"
        ) as registry,
        running(shared, name=other) as stranger,
    ):
        registry.identities = shared.identities
        registry.realm = "" if kind == "same host" else f"{stranger.url}/token"
        registry.add_manifest("a/b", "1", b"{}")
        auths = {registry.host: {"auth": "YWxpY2U6", "identitytoken": "identity0"}}
        config = (
            docker_config(tmp_path, registry.host) if credential == "password" else docker_config(tmp_path, auths=auths)
        )
        client = RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True)
        client.manifest("1")
        assert leaks(stranger) == []
        assert bool(stranger.requests) == (kind != "same host")
        seen = [each for each in registry.asked("/token") if any(secret in each.secrets for secret in SECRETS)]
        assert len(seen) == (1 if kind == "same host" else 0)
        if kind != "same host":  # and a refusal says what it would have taken
            stranger.public = False
            with pytest.raises(Denied, match=rf"wants the credentials of {registry.host} at {stranger.url}"):
                RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True).manifest("1")


def test_a_realm_at_a_private_address_is_not_even_asked(http: Http, tmp_path: Path) -> None:
    with running(Registry()) as stranger, running(Registry(auth="bearer")) as registry:
        for host in ("localhost", "0.0.0.0", "127.0.0.2", "[::ffff:127.0.0.1]"):
            registry.realm = f"http://{host}:{stranger.host.rpartition(':')[2]}/token"
            with pytest.raises(Unreachable, match="no public address"):
                RegistryClient(http, registry.host, "a/b", docker_config=tmp_path).manifest("1")
        assert stranger.requests == []


@pytest.mark.parametrize("kind", ["same place", "other port", "sibling", "other host"])
def test_only_the_host_itself_sees_the_proof_after_a_redirect(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name_hosts(monkeypatch, "registry.example", "cdn.registry.example", "evil.example")
    other = {"other port": "registry.example", "sibling": "cdn.registry.example"}.get(kind, "evil.example")
    for auth in ("basic", "bearer"):
        with (
            running(Registry(auth=auth, users={"alice": "s3cret"}, public=False), name="registry.example") as registry,
            running(Registry(), name=other) as stranger,
        ):
            stranger.blobs = registry.blobs
            digest = registry.add_blob(b"bytes")
            place = registry if kind == "same place" else stranger
            registry.blobs[digest].moved = f"{place.url}/cdn/{digest}?signature=1"
            config = docker_config(tmp_path, registry.host)
            client = RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True)
            assert read(client, digest, 2) == b"tes"
            assert leaks(stranger) == []
            (fetched,) = place.asked("/cdn/")
            assert fetched.headers["range"] == "bytes=2-"
            assert bool(fetched.authorization) == (kind == "same place")


def test_a_stranger_that_asks_who_we_are_is_told_nothing(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_hosts(monkeypatch, "registry.example", "evil.example")
    with (
        running(Registry(), name="registry.example") as registry,
        running(Registry(auth="basic", users={"alice": "s3cret"}), name="evil.example") as stranger,
    ):
        digest = registry.add_blob(b"x", moved=f"{stranger.url}/v2/a/b/blobs/x")
        config = docker_config(tmp_path, registry.host)
        with pytest.raises((Denied, Unreachable)):
            read(RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True), digest)
        with RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True).send(
            "GET", f"{stranger.url}/v2/uploads/1"
        ) as response:
            assert response.status_code == 401
        assert leaks(stranger) == []


def test_https_is_never_left_for_http(http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_hosts(monkeypatch, "registry.example")
    pem = certificate(tmp_path)
    with (
        running(Registry(auth="bearer", public=False), name="registry.example", certificate=pem) as registry,
        running(Registry(users={"alice": "s3cret"}), name="registry.example") as plain,
    ):
        config = docker_config(tmp_path, registry.host)
        client = RegistryClient(http, registry.host, "a/b", docker_config=config, insecure=True)
        assert client.base == registry.url
        registry.realm = f"{plain.url}/token"
        with pytest.raises(Denied, match="plain HTTP"):
            client.manifest("1")
        registry.auth = ""
        digest = registry.add_blob(b"x", moved=f"{plain.url}/cdn/x")
        with pytest.raises(Unreachable, match="plain HTTP"):
            read(client, digest)
        with pytest.raises(Unreachable, match="plain HTTP"), client.send("PUT", f"{plain.url}/upload"):
            pass
        # A registry behind a proxy that doesn't know of its https.
        port = registry.host.rpartition(":")[2]
        with client.send("GET", f"http://registry.example:{port}/v2/") as response:
            assert response.status_code == 200
        assert plain.requests == []
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            RegistryClient(http, registry.host, "a/b", docker_config=config).manifest("1")


def test_plain_http_is_for_this_machine_and_for_whom_one_says(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_hosts(monkeypatch, "registry.example")
    with running(Registry(), name="registry.example") as registry:
        registry.add_manifest("a", "1", b"{}")
        with pytest.raises(Unreachable):
            RegistryClient(http, registry.host, "a", docker_config=tmp_path).manifest("1")
        assert RegistryClient(http, registry.host, "a", docker_config=tmp_path, insecure=True).manifest("1")[0] == b"{}"
    with running(Registry(), certificate=certificate(tmp_path)) as local:
        local.add_manifest("a", "1", b"{}")
        assert RegistryClient(http, local.host, "a", docker_config=tmp_path).manifest("1")[0] == b"{}"
    with running(Registry(), name="localhost") as local:
        local.add_manifest("a", "1", b"{}")
        assert RegistryClient(http, local.host, "a", docker_config=tmp_path).manifest("1")[0] == b"{}"
    for host in ("a:99999", "a:0", ":5000"):
        with pytest.raises(Unreachable, match="no host"):
            RegistryClient(http, host, "a", docker_config=tmp_path)


@pytest.mark.parametrize(
    ("registry", "realm", "together"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token", False),
        ("https://registry-1.docker.io", "http://auth.docker.io/token", False),
        ("https://registry-1.docker.io", "https://auth.docker.io:444/token", False),
        ("https://evil.example", "https://auth.docker.io/token", False),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://rg.fr-par.scw.cloud", "https://api.scaleway.com/x", True),
        ("https://rgxfr-par.scw.cloud", "https://api.scaleway.com/x", False),
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://git.example:5050", "https://git.example/jwt/auth", True),
        ("https://git.example", "https://git.example:5050/jwt/auth", False),
        ("http://127.0.0.1:5000", "https://127.0.0.1:5000/auth", True),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/auth", False),
    ],
)
def test_which_realms_belong_to_which_registries(registry: str, realm: str, together: bool) -> None:
    assert _belong_together(urlsplit(registry), urlsplit(realm)) is together


def test_the_same_entry_for_both_says_that_they_belong_together(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_hosts(monkeypatch, "registry.example", "login.example", public=False)
    pem = certificate(tmp_path)
    users = {"alice": "s3cret"}
    with ExitStack() as stack:
        realm = stack.enter_context(running(Registry(users=users), name="login.example", certificate=pem))
        registry = stack.enter_context(running(Registry(auth="bearer"), name="registry.example", certificate=pem))
        registry.realm = f"{realm.url}/token"
        monkeypatch.setattr("registry.transfer.http._client", _believing(monkeypatch))
        config = docker_config(tmp_path, registry.host)
        with Http(timeout=5) as believing:
            with pytest.raises(Unreachable, match="no public address"):
                RegistryClient(believing, registry.host, "a/b", docker_config=config).manifest("1")
            assert leaks(realm) == []
            # An entry of its own is somebody else's: with it a registry could get itself tokens for another.
            own = {registry.host: {"auth": "YWxpY2U6czNjcmV0"}, realm.host: {"auth": "Ym9iOnB3"}}
            with pytest.raises(Unreachable, match="no public address"):
                RegistryClient(
                    believing, registry.host, "a/b", docker_config=docker_config(tmp_path, auths=own)
                ).manifest("1")
            assert realm.requests == []
            registry.tokens = realm.tokens
            registry.add_manifest("a/b", "1", b"{}")
            both = docker_config(tmp_path, registry.host, realm.host)
            RegistryClient(believing, registry.host, "a/b", docker_config=both).manifest("1")
            assert [each.authorization for each in realm.asked("/token")] == [ALICE]


def _believing(monkeypatch: pytest.MonkeyPatch) -> object:
    """Clients that believe every certificate, as if somebody had signed it."""
    import registry.transfer.http as module

    real = module._client
    return lambda timeout, verify=True: real(timeout, False)


def test_the_same_entry_serves_for_another_port_of_this_machine(http: Http, tmp_path: Path) -> None:
    with (
        running(Registry(users={"alice": "s3cret"}, public=False)) as realm,
        running(Registry(auth="bearer")) as registry,
    ):
        registry.realm, registry.tokens = f"{realm.url}/token", realm.tokens
        registry.add_manifest("a/b", "1", b"{}")
        alone = docker_config(tmp_path, registry.host)
        with pytest.raises(Denied, match=f"give {realm.host} the same entry"):
            RegistryClient(http, registry.host, "a/b", docker_config=alone).manifest("1")
        assert leaks(realm) == []
        both = docker_config(tmp_path, registry.host, realm.host)
        assert RegistryClient(http, registry.host, "a/b", docker_config=both).manifest("1")[0] == b"{}"


def test_cookies_are_not_kept(http: Http, served: Registry, tmp_path: Path) -> None:
    client = RegistryClient(http, served.host, "a/b", docker_config=tmp_path)
    served.answers["/v2/a/b/manifests/1"] = (200, {"Set-Cookie": "session=s3cret; Path=/"}, b"{}")
    client.manifest("1")
    client.manifest("1")
    assert [each for each in served.requests if "cookie" in each.headers] == []


def test_silence_ends(served: Registry, tmp_path: Path) -> None:
    digest = served.add_blob(b"0123456789", stalls=[4, 0])
    with Http(timeout=0.3) as hasty:
        client = RegistryClient(hasty, served.host, "a/b", docker_config=tmp_path)
        for _ in range(2):
            with pytest.raises(Unreachable, match="timed out"):
                read(client, digest)
        assert read(client, digest) == b"0123456789"


def test_a_credential_at_hand_is_sent_first_and_only_there(http: Http, served: Registry, tmp_path: Path) -> None:
    served.auth, served.challenge = "bearer", "Nothing"
    served.tokens.add("token0")
    digest = served.add_blob(b"x")
    client = RegistryClient(
        http, served.host, "a/b", anonymous=True, given=Credential("", "token0", "registry"), docker_config=tmp_path
    )
    assert read(client, digest) == b"x"
    assert served.requests[-1].authorization == "Bearer token0"
    assert "token0" not in repr(Credential("", "token0"))


def test_what_a_registry_says_is_shown_only_as_far_as_it_is_fit(http: Http, served: Registry, tmp_path: Path) -> None:
    client = RegistryClient(http, served.host, "a/b", docker_config=tmp_path)
    said = json.dumps({"errors": [{"message": "a\x1b[31m" + "b" * 9999}]}).encode()
    for body in (said, b"<html>" + b"x" * 99999, b'{"errors": 1}', b'{"error": "as the hub says it"}', b"\xff\x00"):
        served.answers["/v2/a/b/manifests/1"] = (500, {}, body)
        with pytest.raises(RegistryError) as caught:
            client.manifest("1")
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400
