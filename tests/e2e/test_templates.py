# SPDX-License-Identifier: Apache-2.0
"""Templates as clients read them, and what happens when folders come, collide and go."""

import json
import shutil
import subprocess
import uuid

import pytest
from e2b import Sandbox, SandboxException

from conftest import TEMPLATES, wait_for
from support import CLI, NODE, api, client_env


def copy_template(folder, template_id, created, aliases):
    """A folder that differs from the base template in what its description says."""
    base = next(p for p in TEMPLATES.iterdir() if (p / "template.json").exists())
    info = json.loads((base / "template.json").read_text())
    info |= {"template_id": template_id, "build_id": str(uuid.uuid4()), "created_at": created,
             "aliases": aliases}
    folder.mkdir()
    (folder / "root").mkdir()
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "home"):
        (folder / "root" / name).mkdir()
    (folder / "template.json").write_text(json.dumps(info))


def test_templates_are_listed_and_looked_up(broker):
    listed = api(broker, "GET", "/templates").json()
    base = next(t for t in listed if "base" in t["aliases"])
    assert {"templateID", "buildID", "cpuCount", "memoryMB", "diskSizeMB", "public", "aliases",
            "names", "createdAt", "updatedAt", "createdBy", "lastSpawnedAt", "spawnCount",
            "buildCount", "envdVersion", "buildStatus"} == set(base)
    assert api(broker, "GET", "/v2/templates?limit=10").json() == listed
    for ref in ("base", base["templateID"]):
        one = api(broker, "GET", f"/templates/{ref}").json()
        assert one["templateID"] == base["templateID"]
        assert one["builds"][0]["buildID"] == base["buildID"]
    assert api(broker, "GET", "/templates/aliases/base").json()["templateID"] == base["templateID"]
    for path in ("/templates/nothing", "/templates/aliases/nothing", "/templates/a%2Fb%3Ac"):
        assert api(broker, "GET", path).status == 404


def test_the_cli_lists_templates(broker, tmp_path):
    run = subprocess.run([str(NODE), str(CLI), "template", "list"], env=client_env(tmp_path),
                         capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert run.returncode == 0 and "base" in run.stdout, run.stdout + run.stderr


def test_of_two_folders_with_one_alias_the_newer_has_it(own_broker, tmp_path):
    folders = tmp_path / "templates"
    folders.mkdir()
    copy_template(folders / "zz-old", "a" * 20, "2026-01-01T00:00:00Z", ["shared", "old"])
    copy_template(folders / "aa-new", "b" * 20, "2026-02-01T00:00:00Z", ["shared"])
    copy_template(folders / "mm-same", "b" * 20, "2026-01-15T00:00:00Z", ["same"])
    broker = own_broker("--templates-dir", str(folders))

    def owner(alias):
        return api(broker, "GET", f"/templates/aliases/{alias}").json().get("templateID")

    wait_for(lambda: owner("shared"), 10, "the templates")
    assert owner("shared") == "b" * 20 and owner("old") == "a" * 20 and owner("same") is None
    assert [t["templateID"] for t in api(broker, "GET", "/templates").json()] == ["b" * 20, "a" * 20]


def test_a_deleted_folder_is_an_unknown_template(own_broker, tmp_path):
    folders = tmp_path / "templates"
    folders.mkdir()
    copy_template(folders / "gone", "c" * 20, "2026-01-01T00:00:00Z", ["gone"])
    broker = own_broker("--templates-dir", str(folders))
    wait_for(lambda: api(broker, "GET", "/templates").json(), 10, "the template")
    shutil.rmtree(folders / "gone")
    with pytest.raises(SandboxException, match="404.*template 'gone' not found"):
        Sandbox.create("gone", timeout=60)
    wait_for(lambda: api(broker, "POST", "/sandboxes", {"templateID": "c" * 20}).status == 404, 5,
             "the id is unknown too")
