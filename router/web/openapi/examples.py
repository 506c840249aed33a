"""Bodies of the examples in the API document."""

from __future__ import annotations

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
BALL = "a red ball rolls to the right"
FROM_IMAGE = {
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": PIXEL},
                {"type": "input_text", "text": "it moves to the left"},
            ],
        }
    ],
    "provider_options": {"video": {"steps": 8}},
}
