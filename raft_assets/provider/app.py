"""The part of the OpenAI API that no model answers: lists of models, files, uploads, batches and fine-tuning jobs.

A provider puts its own endpoints of models beside these routes. What belongs here: routes and the forms of requests. It
binds no address, asks for no key, and reads no header but the type and length of the content.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.datastructures import QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Lifespan

from raft_assets.provider.batches import BatchService
from raft_assets.provider.bodies import (
    BatchRequest,
    CompleteUploadRequest,
    JobRequest,
    UploadRequest,
    limit_stream,
    read_body,
)
from raft_assets.provider.errors import HANDLERS, ApiError, bad_request
from raft_assets.provider.files import MAX_FILE_BYTES, UPLOAD_PURPOSES, FileStore
from raft_assets.provider.jobs import JobService
from raft_assets.provider.paging import page
from raft_assets.provider.uploads import UploadService

FORM_OVERHEAD_BYTES = 1 << 20  # of an upload, around the file
FILES_PAGE, JOBS_PAGE, EVENTS_PAGE, CHECKPOINTS_PAGE = 10_000, 20, 20, 10  # OpenAI's defaults


class Models(Protocol):
    """The models of a provider."""

    def cards(self) -> list[dict[str, Any]]:
        """Return OpenAI's `model` object of every model."""

    def card(self, model: str) -> dict[str, Any]:
        """Return OpenAI's `model` object; raises ApiError (404)."""

    def delete(self, model: str) -> None:
        """Delete a fine-tuned model; raises ApiError (404, 403)."""


def create_provider_app(
    folder: Path,
    *,
    files: FileStore,
    models: Models,
    jobs: JobService,
    answering: Sequence[Route],
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """Create the application of a state folder; `answering` are the endpoints that ask a model.

    By itself it writes nothing before a request does.
    """
    return Starlette(
        routes=[
            Route("/health", _health),
            *answering,
            *_model_routes(models),
            *_file_routes(files),
            *_upload_routes(UploadService(folder, files)),
            *_job_routes(jobs),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _model_routes(models: Models) -> list[Route]:
    def cards(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": models.cards()})

    def card(request: Request) -> Response:
        return JSONResponse(models.card(request.path_params["model"]))

    def delete(request: Request) -> Response:
        models.delete(request.path_params["model"])
        return _deletion_response(request.path_params["model"], "model")

    return [
        Route("/v1/models", cards),
        Route("/v1/models/{model:path}", card),
        Route("/v1/models/{model:path}", delete, methods=["DELETE"]),
    ]


def _file_routes(files: FileStore) -> list[Route]:
    async def create(request: Request) -> Response:
        form = await _upload_form(request, {"file": UploadFile, "purpose": str})
        file, purpose = form["file"], form["purpose"]
        if purpose not in UPLOAD_PURPOSES:
            raise bad_request(
                f"Invalid value for 'purpose': expected 'fine-tune' or 'batch', got {str(purpose)[:40]!r}.",
                param="purpose",
                code="invalid_value",
            )
        stored = await run_sync(
            partial(files.create, file.file, filename=file.filename or "upload.jsonl", purpose=purpose)
        )
        await file.close()
        return JSONResponse(stored.as_api())

    def list_files(request: Request) -> Response:
        query = request.query_params
        found = files.all(purpose=query.get("purpose"), order=query.get("order", "desc"))
        return JSONResponse(page([file.as_api() for file in found], query, default_limit=FILES_PAGE))

    def retrieve(request: Request) -> Response:
        return JSONResponse(files.get(request.path_params["file"]).as_api())

    def content(request: Request) -> Response:
        return FileResponse(files.content(request.path_params["file"]), media_type="application/octet-stream")

    def delete(request: Request) -> Response:
        files.delete(request.path_params["file"])
        return _deletion_response(request.path_params["file"], "file")

    return [
        Route("/v1/files", list_files),
        Route("/v1/files", create, methods=["POST"]),
        Route("/v1/files/{file}", retrieve),
        Route("/v1/files/{file}", delete, methods=["DELETE"]),
        Route("/v1/files/{file}/content", content),
    ]


def _upload_routes(uploads: UploadService) -> list[Route]:
    async def create(request: Request) -> Response:
        body = await read_body(request, UploadRequest)
        return JSONResponse((await run_sync(uploads.create, body)).as_api())

    async def add_part(request: Request) -> Response:
        data = (await _upload_form(request, {"data": UploadFile}))["data"]
        part = await run_sync(uploads.add_part, request.path_params["upload"], data.file, data.size)
        await data.close()
        return JSONResponse(part)

    async def complete(request: Request) -> Response:
        body = await read_body(request, CompleteUploadRequest)
        return JSONResponse(await run_sync(uploads.complete, request.path_params["upload"], body))

    def cancel(request: Request) -> Response:
        return JSONResponse(uploads.cancel(request.path_params["upload"]).as_api())

    return [
        Route("/v1/uploads", create, methods=["POST"]),
        Route("/v1/uploads/{upload}/parts", add_part, methods=["POST"]),
        Route("/v1/uploads/{upload}/complete", complete, methods=["POST"]),
        Route("/v1/uploads/{upload}/cancel", cancel, methods=["POST"]),
    ]


def _job_routes(jobs: JobService) -> list[Route]:
    async def create(request: Request) -> Response:
        body = await read_body(request, JobRequest)
        return JSONResponse((await run_sync(jobs.create, body)).as_api())

    def list_jobs(request: Request) -> Response:
        found = jobs.list_jobs(_metadata_filter(request.query_params))
        return JSONResponse(page([job.as_api() for job in found], request.query_params, default_limit=JOBS_PAGE))

    def retrieve(request: Request) -> Response:
        return JSONResponse(jobs.get(request.path_params["job"]).as_api())

    def cancel(request: Request) -> Response:
        return JSONResponse(jobs.cancel(request.path_params["job"]).as_api())

    def events(request: Request) -> Response:
        found = jobs.folder(request.path_params["job"]).events()
        return JSONResponse(page(found, request.query_params, default_limit=EVENTS_PAGE))

    def checkpoints(request: Request) -> Response:
        job = jobs.get(request.path_params["job"])
        found = [checkpoint.as_api(job.id) for checkpoint in reversed(job.checkpoints)]
        return JSONResponse(page(found, request.query_params, default_limit=CHECKPOINTS_PAGE))

    return [
        Route("/v1/fine_tuning/jobs", list_jobs),
        Route("/v1/fine_tuning/jobs", create, methods=["POST"]),
        Route("/v1/fine_tuning/jobs/{job}", retrieve),
        Route("/v1/fine_tuning/jobs/{job}/cancel", cancel, methods=["POST"]),
        Route("/v1/fine_tuning/jobs/{job}/events", events),
        Route("/v1/fine_tuning/jobs/{job}/checkpoints", checkpoints),
    ]


def batch_routes(batches: BatchService) -> list[Route]:
    """Return the routes of batches, for a provider that answers them."""

    async def create(request: Request) -> Response:
        body = await read_body(request, BatchRequest)
        return JSONResponse((await run_sync(batches.create, body)).as_api())

    def list_batches(request: Request) -> Response:
        found = [batch.as_api() for batch in batches.all()]
        return JSONResponse(page(found, request.query_params, default_limit=JOBS_PAGE))

    async def retrieve(request: Request) -> Response:
        return JSONResponse((await batches.advance(request.path_params["batch"])).as_api())

    def cancel(request: Request) -> Response:
        return JSONResponse(batches.cancel(request.path_params["batch"]).as_api())

    return [
        Route("/v1/batches", list_batches),
        Route("/v1/batches", create, methods=["POST"]),
        Route("/v1/batches/{batch}", retrieve),
        Route("/v1/batches/{batch}/cancel", cancel, methods=["POST"]),
    ]


async def _upload_form(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """Read the fields of a multipart form, an upload and texts; raises ApiError (400, 413)."""
    most = MAX_FILE_BYTES + FORM_OVERHEAD_BYTES
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise bad_request("Invalid Content-Type header, expected multipart/form-data.")
    if int(request.headers.get("content-length", "0")) > most:
        raise ApiError(413, f"The file is larger than {MAX_FILE_BYTES >> 20} MB.", param="file", code="file_too_large")
    try:
        form = await MultiPartParser(
            request.headers, limit_stream(request.stream(), most), max_files=1, max_fields=8
        ).parse()
    except MultiPartException as error:
        raise bad_request(f"The form of your upload could not be read: {error.message}") from error
    return _check_form(dict(form), fields)


def _check_form(form: dict[str, Any], fields: Mapping[str, type]) -> dict[str, Any]:
    for name in form.keys() - fields.keys():
        raise bad_request(f"Unknown parameter: '{name[:80]}'.", param=name[:80], code="unknown_parameter")
    for name, kind in fields.items():
        if not isinstance(form.get(name), kind):
            raise bad_request(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
        if kind is UploadFile and not form[name].size:
            raise bad_request("The file is empty.", param=name, code="empty_file")
    return form


def _metadata_filter(query: QueryParams) -> dict[str, str] | None:
    """Return the pairs of `metadata[key]=value`; None for `metadata=null`, which selects jobs without metadata."""
    pairs = {
        name[len("metadata[") : -1]: value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if "metadata" not in query:
        return pairs
    if query["metadata"] != "null" or pairs:
        raise bad_request(
            "Invalid 'metadata': filter by metadata[key]=value, or by metadata=null alone.",
            param="metadata",
            code="invalid_value",
        )
    return None


def _deletion_response(name: str, kind: str) -> Response:
    return JSONResponse({"id": name, "object": kind, "deleted": True})
