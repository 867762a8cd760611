"""One frame made of another: right, written where it is sent, and refused in words where it can't be."""

import base64

import cv2
import numpy as np
import pytest
from flowcore_nodes.vision.blur import Blur
from flowcore_nodes.vision.colour import Colour
from flowcore_nodes.vision.crop import Crop
from flowcore_nodes.vision.decode import Decode
from flowcore_nodes.vision.encode import Encode
from flowcore_nodes.vision.images import on_cpu, on_gpu
from flowcore_nodes.vision.letterbox import Letterbox
from flowcore_nodes.vision.normalise import Normalise
from flowcore_nodes.vision.resize import Resize
from flowcore_nodes.vision.rotate import Rotate

from flowcore.node.testing import drive

RNG = np.random.default_rng(1)
NOISE = RNG.integers(0, 256, (90, 120, 3), np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (15, 15), 0)


async def made(node_class, *payloads, meta=None, **config):
    """The payloads and messages that a node makes."""
    async with drive(node_class, **config) as node:
        await node.put(*payloads, meta=meta)
        assert not node.errors, node.errors
        return await node.sent(), node.messages()


async def refusal(node_class, payload, **config) -> str:
    async with drive(node_class, **config) as node:
        await node.put(payload)
        return node.errors[0]["text"]


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({"width": 60}, (45, 60, 3)),
        ({"height": 45}, (45, 60, 3)),
        ({"width": 50, "height": 20}, (20, 50, 3)),
        ({"scale": 2, "method": "cubic"}, (180, 240, 3)),
    ],
)
async def test_resize(config, shape):
    (image,), (message,) = await made(Resize, SMOOTH, meta={"number": 3}, **config)
    assert image.shape == shape and message.meta == {"number": 3, "width": shape[1], "height": shape[0]}
    back = cv2.resize(image.numpy(), (120, 90))
    assert np.abs(back.astype(int) - SMOOTH).mean() < 6


async def test_letterbox_says_how_to_come_back():
    """A pixel of the old frame is found again in the new one by what meta says."""
    image = np.zeros((90, 120, 3), np.uint8)
    image[40:44, 100:104] = 255
    (boxed,), (message,) = await made(Letterbox, image, width=320, height=320)
    said, (ys, xs) = message.meta["letterbox"], np.nonzero(boxed.numpy()[..., 0] > 200)
    x, y = (xs.mean() + 0.5 - said["x"]) / said["scale"], (ys.mean() + 0.5 - said["y"]) / said["scale"]
    assert abs(x - 102) < 0.5 and abs(y - 42) < 0.5 and said["width"] == 120
    assert (boxed.numpy()[:40] == 114).all() and (boxed.numpy()[-40:] == 114).all()


async def test_rotate_turns_clockwise_and_mirrors_before():
    """By quarters nothing is lost; a full turn in small steps comes back."""
    (turned,), _ = await made(Rotate, NOISE, degrees=90)
    assert np.array_equal(turned.numpy(), np.rot90(NOISE, -1))
    (turned,), _ = await made(Rotate, NOISE, degrees=-90, mirror="left-right")
    assert np.array_equal(turned.numpy(), np.rot90(NOISE[:, ::-1]))
    (turned,), _ = await made(Rotate, SMOOTH, degrees=30)
    assert turned.shape == (round(90 * 0.866 + 60), round(120 * 0.866 + 45), 3)
    (back,), _ = await made(Rotate, turned.copy(), degrees=-30, expand=False)
    middle = back.numpy()[turned.shape[0] // 2 - 20 :, turned.shape[1] // 2 - 20 :][:40, :40]
    assert np.abs(middle.astype(int) - SMOOTH[25:65, 40:80]).mean() < 5


async def test_crop_cuts_a_region_or_each_detection():
    (part,), (message,) = await made(
        Crop, NOISE, region=[25, 50, 50, 50], unit="percent", meta={"region": [7, 5, 0, 0]}
    )
    assert np.array_equal(part.numpy(), NOISE[45:90, 30:90]) and message.meta["region"] == [37, 50, 60, 45]
    seen = {
        "frame": NOISE,
        "width": 120,
        "height": 90,
        "detections": [
            {"class": "a", "box": [10, 10, 30, 20]},
            {"class": "b", "box": [0, 0, 9, 9]},
            {"class": "a", "box": [110, 80, 130, 100], "track": 4},
            {"class": "a", "box": [300, 300, 310, 310]},
        ],
    }
    parts, messages = await made(Crop, seen, classes=["a"])
    assert [part.shape for part in parts] == [(10, 20, 3), (10, 10, 3)]
    assert np.array_equal(parts[0].numpy(), NOISE[10:20, 10:30]) and messages[1].meta["detection"]["track"] == 4


async def test_normalise_makes_what_a_model_was_trained_on():
    """Against the formula, written down: (pixel / 255 - mean) / std, RGB planes first."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    wanted = ((NOISE[..., ::-1] / 255 - mean) / std).transpose(2, 0, 1)[None]
    (tensor,), _ = await made(Normalise, NOISE, mean=mean, std=std)
    assert tensor.dtype == "float32" and np.allclose(tensor.numpy(), wanted, atol=1e-5)
    (half,), _ = await made(Normalise, NOISE, mean=mean, std=std, dtype="float16", layout="HWC", channels="bgr")
    wanted = (NOISE / 255 - mean) / std
    assert half.dtype == "float16" and np.allclose(half.numpy(), wanted, atol=2e-3)


async def test_normalise_fits_first_and_lets_the_frame_travel():
    """The same as letterbox and normalise one after the other."""
    (boxed,), (said,) = await made(Letterbox, NOISE, width=64, height=64)
    (wanted,), _ = await made(Normalise, boxed.copy())
    (got,), (message,) = await made(Normalise, NOISE, width=64, height=64, with_frame=True)
    assert np.array_equal(got["tensor"].numpy(), wanted.numpy()) and np.array_equal(got["frame"].numpy(), NOISE)
    assert message.meta == said.meta


@pytest.mark.parametrize(("kind", "near"), [("png", 0), ("jpeg", 8), ("webp", 8)])
async def test_what_is_encoded_is_decoded(kind, near):
    (coded,), (message,) = await made(Encode, SMOOTH, format=kind, quality=95)
    assert message.meta["content_type"] == f"image/{kind}"
    (text,), _ = await made(Encode, SMOOTH, format=kind, quality=95, text="data-uri")
    assert text == f"data:image/{kind};base64," + base64.b64encode(bytes(coded)).decode()
    images, _ = await made(Decode, bytes(coded), text)
    for image in images:
        assert np.abs(image.numpy().astype(int) - SMOOTH).mean() <= near
    (grey,), _ = await made(Decode, bytes(coded), colour="grey")
    assert grey.shape == (90, 120)


async def test_colours_come_back():
    for there, back in (("bgr-to-rgb", "rgb-to-bgr"), ("bgr-to-hsv", "hsv-to-bgr"), ("bgr-to-lab", "lab-to-bgr")):
        (image,), _ = await made(Colour, SMOOTH, convert=there)
        (again,), _ = await made(Colour, image.copy(), convert=back)
        assert np.abs(again.numpy().astype(int) - SMOOTH).max() < 12, there
    (grey,), _ = await made(Colour, SMOOTH)
    assert np.abs(grey.numpy() - SMOOTH @ [0.114, 0.587, 0.299]).max() <= 1
    (image,), _ = await made(Colour, grey.copy(), convert="grey-to-bgr")
    assert image.shape == (90, 120, 3)


async def test_blur_takes_what_is_inside_and_nothing_else():
    seen = {"frame": NOISE, "width": 120, "height": 90, "detections": [{"class": "person", "box": [40, 30, 80, 70]}]}
    for method in ("pixelate", "blur"):
        (after,), _ = await made(Blur, seen, method=method, margin=0, regions=[[0, 0, 10, 10]])
        image = after["frame"].numpy()
        changed = (image != NOISE).any(axis=2)
        inside = np.zeros_like(changed)
        inside[30:70, 40:80] = inside[:9, :12] = True
        assert not changed[~inside].any() and changed[inside].mean() > 0.9
        assert image[35:65, 45:75].std() < NOISE[35:65, 45:75].std() / 2
        assert after["detections"][0]["class"] == "person"


@pytest.mark.parametrize(
    ("node_class", "config", "payload", "says"),
    [
        (Resize, {"width": 1}, np.zeros((2, 90, 3), np.uint8), "would become 1 x 0"),
        (Crop, {"region": [100, 0, 50, 50]}, NOISE, "not within a frame of 120 x 90"),
        (Crop, {}, NOISE, "no region is set"),
        (Crop, {}, {"width": 3}, "neither a frame nor detections"),
        (Crop, {}, {"width": 3, "height": 3, "detections": []}, "without their frame"),
        (Colour, {"convert": "grey-to-bgr"}, NOISE, "takes a frame of 1 channel, this one has 3"),
        (Normalise, {"mean": [1, 2, 3]}, NOISE[..., 0].copy(), "mean has 3 numbers, and the frame 1 channels"),
        (Decode, {}, b"\xff\xd8\xffgarbage", "no image that OpenCV can read"),
        (Decode, {}, "not base64!", "no base64 text"),
        (Decode, {}, 5, "takes bytes or base64 text, got int"),
        (Encode, {}, NOISE[..., :2].copy(), "can't be jpeg"),
        (Blur, {}, "text", "neither a frame nor detections"),
        (Rotate, {}, "text", "takes frame"),
    ],
)
async def test_what_can_not_be_done_is_refused_in_words(node_class, config, payload, says):
    assert says in await refusal(node_class, payload, **config)


@pytest.mark.parametrize("source", [SMOOTH, SMOOTH[..., 0].copy()], ids=["colour", "grey"])
def test_on_a_gpu_the_same_comes_out(source):
    """The operations for GPUs, with numpy in cupy's place, against those of OpenCV: one grey level apart at most."""
    sizes = {"linear": ((43, 71), (199, 133), (90, 120)), "nearest": ((180, 240), (30, 40))}  # exact: no ties
    for method, shape in [(method, shape) for method, shapes in sizes.items() for shape in shapes]:
        ours, theirs = (np.zeros(shape + source.shape[2:], np.uint8) for _ in range(2))
        on_gpu.resize(np, source, ours, method == "linear")
        on_cpu.resize(source, theirs, method)
        assert np.abs(ours.astype(int) - theirs).max() <= (method == "linear"), (shape, method)
    for quarters in (1, 2, 3):
        ours = np.zeros(np.rot90(source, quarters).shape, np.uint8)
        theirs = np.zeros_like(ours)
        on_gpu.turn(np, source, ours, quarters)
        on_cpu.turn(source, theirs, quarters)
        assert np.array_equal(ours, theirs)
    if source.ndim == 3:
        for wanted in ("bgr-to-rgb", "bgr-to-grey", "rgb-to-grey"):
            shape = source.shape[:2] if wanted.endswith("grey") else source.shape
            ours, theirs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
            on_gpu.colour(np, source, ours, wanted)
            on_cpu.colour(source, theirs, wanted)
            assert np.abs(ours.astype(int) - theirs).max() <= 1, wanted
    channels = source.shape[2] if source.ndim == 3 else 1
    ours, theirs = (np.zeros((channels, *source.shape[:2]), np.float32) for _ in range(2))
    for one, place in ((lambda *a: on_gpu.normalise(np, *a), ours), (on_cpu.normalise, theirs)):
        one(source, place, [0.01] * channels, [0.5] * channels, True, channels == 3)
    assert np.allclose(ours, theirs, atol=1e-5)
