"""A web service: POST an image's bytes to /predict, get its record as JSON.

    pip install "keras-efsnet[lite,dicom]" fastapi uvicorn
    uvicorn --app-dir examples --host 127.0.0.1 --limit-concurrency 64 service:app
    curl --data-binary @scan.png http://127.0.0.1:8000/predict

An upload that is too large or no image gets a status of 4xx. Put a server that checks
who asks, and speaks TLS, in front of it. For research use only, not for diagnosis.
"""

from tempfile import NamedTemporaryFile

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from keras_efsnet import load_predictor, predict_batch
from keras_efsnet.images.reading import read_frame
from keras_efsnet.prediction.measurements import measure_lesions

LARGEST = 20 * 2**20
"""Bytes of an upload."""

app = FastAPI(title="keras-efsnet")
predictor = load_predictor()  # threads share it


@app.post("/predict")
async def predict(request: Request) -> dict:
    """Returns class, probabilities, boxes, reasons to refer, and measurements."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            raise HTTPException(413, f"The image has more than {LARGEST} bytes.")
    return await run_in_threadpool(answer, bytes(content))


def answer(content: bytes) -> dict:
    with NamedTemporaryFile() as file:  # removed at the end
        file.write(content)
        file.flush()
        try:
            frame = read_frame(file.name)
        except (OSError, ValueError) as error:
            reason = str(error).replace(file.name, "the upload")
            raise HTTPException(415, reason) from None
    (prediction,) = predict_batch(predictor, frame)
    return {**prediction.to_json(), "lesions": measure_lesions(frame, prediction)}
