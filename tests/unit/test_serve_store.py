"""Jobs, results and ratings that outlive the process: the same tests on SQLite and on a real PostgreSQL."""

import sqlite3
import tarfile
from dataclasses import replace

import pytest
import sqlalchemy as sa

from impasto.errors import InputError, ResourceError
from impasto.serve import store as stores
from impasto.serve.fields import Upload
from impasto.serve.jobs import Job, new_id
from impasto.serve.store import DATABASE, JobStore, Rating, backup

pytestmark = pytest.mark.process  # a PostgreSQL is started

UPLOADS = (Upload("content", "photo.png", b"photograph"), Upload("style", "a.png", b"painting"))


def job(**changes):
    uploads = tuple((one.field, one.name, one.digest) for one in UPLOADS)
    made = Job(new_id(), "ann", settings={"quality": "draft"}, uploads=uploads, method="adain", created=1.0)
    return replace(made, **changes)


def done(found, at=5.0):
    return replace(found, state="done", finished=at, result={"name": "x.png", "seconds": 1.0}, record={"styles": []})


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request, tmp_path):
    """Opens a store; again and again the same one."""
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    opened = []

    def again(**named):
        for one in opened:
            one.close()
        opened.append(JobStore(tmp_path / "state", url=url, **named))
        return opened[-1]

    yield again
    for one in opened:
        one.close()


@pytest.fixture
def store(make):
    return make()


def test_an_accepted_job_is_there_after_a_restart_with_its_pictures(make):
    accepted = job()
    make().add(accepted, UPLOADS)
    store = make()
    assert store.open_jobs() == [accepted]
    assert [(one.field, one.data) for one in store.read_uploads(accepted)] == [
        ("content", b"photograph"),
        ("style", b"painting"),
    ]


def test_a_job_ends_once(make):
    accepted, store = job(), make()
    store.add(accepted, UPLOADS)
    assert store.update(replace(accepted, state="running", attempts=1))
    store.write_result(accepted, b"picture")
    assert store.update(done(accepted))
    assert not store.update(replace(accepted, state="failed", finished=6.0))
    store = make()
    assert store.open_jobs() == []
    assert store.get(accepted.id) == done(accepted)
    assert store.read_result(accepted) == b"picture"
    assert not any((store._folder / "uploads").iterdir())  # they went with the end


def test_uploads_are_shared_and_stay_as_long_as_a_job_needs_them(store):
    first, second = job(), job()
    store.add(first, UPLOADS)
    store.add(second, UPLOADS[:1])
    second = replace(second, uploads=second.uploads[:1])
    assert len(list((store._folder / "uploads").iterdir())) == 2
    store.update(done(first))
    assert store.read_uploads(second)[0].data == b"photograph"


def test_what_a_killed_process_left_is_taken_away(make):
    store = make()
    (store._folder / "uploads" / "0123").write_bytes(b"of a job that was never accepted")
    (store._folder / "results" / ".impasto-1234.tmp").write_bytes(b"half")
    store = make()
    assert store._files() == []


def test_a_key_is_a_clients_own(store):
    first = job(key="k")
    assert store.add(first, UPLOADS) is first
    second = store.add(job(key="k"), UPLOADS)
    assert second.id == first.id
    assert store.add(other := job(key="k", client="bob"), UPLOADS) is other
    assert store.by_key("ann", "k").id == first.id
    assert [store.add(one, UPLOADS) is one for one in (job(), job())] == [True, True]  # none has a key


def test_pages_are_the_clients_own_and_the_newest_first(store):
    ids = []
    for _ in range(5):
        ids.append(store.add(job(), UPLOADS).id)
    store.add(job(client="bob"), UPLOADS)
    store.update(done(store.get(ids[1])))
    page = store.page("ann", state=None, before=None, limit=3)
    rest = store.page("ann", state=None, before=page.following, limit=3)
    assert [one.id for one in (*page.jobs, *rest.jobs)] == sorted(ids, reverse=True)
    assert rest.following is None
    assert [one.id for one in store.page("ann", state="done", before=None, limit=3).jobs] == [ids[1]]


def test_old_jobs_go_with_their_pictures_and_ratings_stay(store):
    old, new = job(), job()
    for one, at in ((old, 5.0), (new, 50.0)):
        store.add(one, UPLOADS)
        store.write_result(one, b"picture")
        store.update(done(one, at))
        store.rate(Rating(one.id, "ann", 3, "", "adain", "irises", at))
    store.rate(Rating(new.id, "ann", 5, "löv\u200d", "adain", "irises", 51.0))
    assert store.expire(10.0) == 1
    assert store.get(old.id) is None
    assert [path.name for path in store._files()] == [new.id]
    assert [(one.job, one.stars) for one in store.ratings("ann")] == [(old.id, 3), (new.id, 5)]
    assert store.ratings("bob") == []


def test_a_quota_drops_the_oldest_results_and_then_refuses(make):
    store = make(quota=60)
    first, second = job(), job()
    for one, at in ((first, 1.0), (second, 2.0)):
        store.add(one, UPLOADS)  # 18 bytes
        store.write_result(one, b"x" * 25)
        store.update(done(one, at))
    store.add(job(), UPLOADS)
    assert store.get(first.id) is None
    assert store.read_result(second) == b"x" * 25
    with pytest.raises(ResourceError, match="quota"):
        store.add(job(), (Upload("content", "photo.png", b"y" * 100), UPLOADS[1]))
    assert len(store.open_jobs()) == 1
    assert store._used == sum(path.stat().st_size for path in store._files())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_an_earlier_version_is_brought_up_with_its_jobs(tmp_path, request, kind):
    url = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    engine = stores._connect(tmp_path / DATABASE if url is None else url)
    stores._upgrade(engine, "0001")
    accepted = job()
    with engine.begin() as connection:
        row = {name: value for name, value in stores._row(accepted).items() if name != "seconds"}
        connection.execute(stores.JOBS.insert().values(**row))
        assert "ratings" not in sa.inspect(connection).get_table_names()
    engine.dispose()
    store = JobStore(tmp_path, url=url)
    assert store.open_jobs() == [accepted]
    store.rate(Rating(accepted.id, "ann", 5, "", "adain", "irises", 1.0))
    store.close()


def test_the_migrations_make_the_tables_that_the_code_declares(store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), stores.METADATA) == []


def test_a_database_of_a_later_version_is_refused(tmp_path):
    JobStore(tmp_path).close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(InputError, match="later Impasto"):
        JobStore(tmp_path)


def test_two_services_do_not_share_a_folder(tmp_path):
    first = JobStore(tmp_path)
    with pytest.raises(InputError, match="another process"):
        JobStore(tmp_path)
    first.close()
    JobStore(tmp_path).close()


def test_a_wrong_database_is_told_without_its_password(tmp_path):
    for url in ("mysql://a:secret@b/c", "postgresql://a:secret@127.0.0.1:1/c", "postgresql://a:secret@["):
        with pytest.raises(InputError, match="database") as told:
            JobStore(tmp_path, url=url)
        assert "secret" not in told.value.message + told.value.hint


def test_a_backup_of_a_running_store_restores(tmp_path):
    store = JobStore(tmp_path / "state")
    accepted, ended = job(), job()
    for one in (accepted, ended):
        store.add(one, UPLOADS)
    store.write_result(ended, b"picture")
    store.update(done(ended))
    store.rate(Rating(ended.id, "ann", 4, "", "adain", "irises", 1.0))
    backup(tmp_path / "state", tmp_path / "backup.tar")
    store.close()
    with tarfile.open(tmp_path / "backup.tar") as archive:
        archive.extractall(tmp_path / "restored", filter="data")
    restored = JobStore(tmp_path / "restored")
    assert restored.open_jobs() == [accepted]
    assert len(restored.read_uploads(accepted)) == 2
    assert restored.read_result(ended) == b"picture"
    assert [one.stars for one in restored.ratings("ann")] == [4]
    restored.close()
    with pytest.raises(InputError, match="no database"):
        backup(tmp_path / "nothing", tmp_path / "other.tar")
