"""Asks a server with the code of other servers' clients: `python served_clients.py CLIENT PORT IMAGE`, prints JSON.

It runs in the environment of these clients (`./run clients`), without lookonce. IMAGE is an image file.
"""

import json
import sys
from pathlib import Path


def error_of(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 (that of the client)
        return error
    raise AssertionError(f"{arguments}: no error")


def tritonclient(port, image):
    import cv2
    import numpy as np
    from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

    client = InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colours", "1")
    assert client.get_server_metadata()["name"] == "lookonce"
    assert {one["name"] for one in client.get_model_metadata("colours")["inputs"]} == {"images", "files"}
    assert client.get_model_repository_index()[0]["name"] == "colours"

    files = InferInput("files", [2], "BYTES")
    files.set_data_from_numpy(np.array([image, image], dtype=object))
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)[None]
    found = {}
    for binary in (True, False):
        given = InferInput("images", list(pixels.shape), "UINT8")
        given.set_data_from_numpy(pixels, binary_data=binary)
        found[f"pixels {binary}"] = client.infer("colours", [given])
    found["files"] = client.infer("colours", [files], model_version="1", request_id="7")
    outputs = [InferRequestedOutput("scores", binary_data=False), InferRequestedOutput("boxes_xyxy")]
    chosen = client.infer("colours", [files], outputs=outputs, parameters={"threshold": 0.9})
    assert chosen.as_numpy("labels") is None
    assert error_of(client.infer, "other", [files]).status() == "404"
    client.load_model("colours")
    assert client.get_model_metadata("colours")["versions"] == ["2"]
    names = ("boxes_xyxy", "scores", "labels", "image_index")
    return {way: {name: one.as_numpy(name).tolist() for name in names} for way, one in found.items()} | {
        "chosen": {name: chosen.as_numpy(name).tolist() for name in ("boxes_xyxy", "scores")}
    }


def deepstack(port, image):
    from deepstack_sdk import Detection, ServerConfig

    config = ServerConfig(f"http://127.0.0.1:{port}")
    found = [Detection(config).detectObject(image, min_confidence=0.3)]
    found.append(Detection(config, name="colours").detectObject(image, min_confidence=0.3))
    assert str(error_of(Detection(config).detectObject, b"hello")) == "Invalid image"
    return [[vars(one) for one in response] for response in found]


def label_studio(port, image):
    import base64

    import requests
    from label_studio_sdk.label_interface import LabelInterface

    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        '<Label value="red"/><Label value="green"/><Label value="blue"/></RectangleLabels></View>'
    )
    url = f"http://127.0.0.1:{port}"
    data = {"image": f"data:image/png;base64,{base64.b64encode(image).decode()}"}
    body = {"tasks": [{"id": 1, "data": data}], "label_config": config, "project": "1.1", "params": {"context": None}}
    assert requests.get(f"{url}/health", timeout=20).json()["status"] == "UP"
    version = requests.post(f"{url}/setup", json={"project": "1.1", "schema": config}, timeout=20).json()
    answer = requests.post(f"{url}/predict", json=body, timeout=20).json()
    assert answer["model_version"] == version["model_version"]
    (prediction,) = answer["results"]
    errors = LabelInterface(config).validate_prediction(prediction, return_errors=True)
    assert not errors, errors
    return prediction


def inference_sdk(port, image):
    import cv2
    import numpy as np
    from inference_sdk import InferenceConfiguration, InferenceHTTPClient
    from inference_sdk.http.entities import ApiKeyTransport

    client = InferenceHTTPClient(api_url=f"http://127.0.0.1:{port}", api_key="secret")
    chosen = {"confidence_threshold": 0.3, "api_key_transport": ApiKeyTransport.HEADER}
    client.configure(InferenceConfiguration(**chosen))
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    found = client.infer(pixels, model_id="colours")
    client.configure(InferenceConfiguration(max_batch_size=2, **chosen))
    several = client.infer([pixels, pixels], model_id="colours")
    assert "404" in str(error_of(client.infer, pixels, "other"))
    return [found, *several]


if __name__ == "__main__":
    asked = globals()[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]).read_bytes())
    print(json.dumps(asked))
