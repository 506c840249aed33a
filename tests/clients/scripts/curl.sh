#!/usr/bin/env bash
# curl: the requests that a user types, and what the terminal shows. Run as `curl.sh BASE_URL IMAGE`.
set -euo pipefail
base=$1 image=$2
root=${base%/v1}
json="Content-Type: application/json"
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

ask() { curl -sS "$base/responses" -H "$json" -d "$1"; }
status() { curl -sS -o /dev/null -w '%{http_code} %{content_type}' "$@"; }
until_finished() { # the path of a job
  while [[ $(curl -sS "$base/$1" | jq -r .status) =~ ^(queued|in_progress)$ ]]; do sleep 0.1; done
  curl -sS "$base/$1"
}
refusal() { # what the user reads, with the status and the id that came with it
  local code
  code=$(curl -sS -o "$folder/answer" -D "$folder/head" -w '%{http_code}' "$@")
  jq -c --argjson code "$code" --arg id "$(sed -n 's/^x-request-id: \([^\r]*\).*/\1/Ip' "$folder/head")" \
    '.error + {status_code: $code, request_id: $id}' "$folder/answer"
}

created=$(ask '{"model": "wan-nano", "input": "a red ball", "provider_options": {"video": {"steps": 3}}}')
path=$(jq -r '.output[0].content[0].video_url' <<<"$created")

printf '{"model": "wan-nano", "input": [{"role": "user", "content": [
  {"type": "input_image", "image_url": "data:image/png;base64,%s"}, {"type": "input_text", "text": "a"}]}]}' \
  "$(base64 -w0 "$image")" >"$folder/request.json"
with_an_image=$(ask "@$folder/request.json")

background=$(ask '{"model": "slow", "input": "a red ball", "background": true}')
polled=$(until_finished "responses/$(jq -r .id <<<"$background")")
stream=$(curl -sSN "$base/responses" -H "$json" -d '{"model": "slow", "input": "a red ball", "stream": true}')

form=$(curl -sS "$base/videos" -F model=wan-nano -F prompt="a red ball" -F seconds=1 -F size=64x64)
with_file=$(curl -sS "$base/videos" -F model=wan-nano -F prompt="a red ball" -F input_reference=@"$image")
id=$(jq -r .id <<<"$form")
video=$(until_finished "videos/$id")
file=$(status "$base/videos/$id/content")
thumbnail=$(status "$base/videos/$id/content?variant=thumbnail")
listed=$(curl -sS "$base/videos?limit=2")
deleted=$(curl -sS -X DELETE "$base/videos/$id")

fails=0
curl -sSf "$base/responses" -H "$json" -d '{"model": "wan-nano-i2v", "input": "a"}' >/dev/null 2>&1 || fails=$?

jq -nc \
  --arg version "$(curl --version | cut -d' ' -f2 | head -1)" \
  --argjson created "$created" --argjson with_an_image "$with_an_image" \
  --argjson background "$background" --argjson polled "$polled" --arg stream "$stream" \
  --argjson video "$video" --argjson with_file "$with_file" --argjson listed "$listed" --argjson deleted "$deleted" \
  --argjson fails "$fails" --arg file "$file" --arg thumbnail "$thumbnail" \
  --arg by_path "$(status "$root$path")" --arg part "$(status -r 0-99 "$root$path")" --arg head "$(status -I "$root$path")" \
  --argjson gone "$(refusal "$base/videos/$id")" \
  --argjson mismatch "$(refusal "$base/responses" -H "$json" -d '{"model": "wan-nano-i2v", "input": "a red ball"}')" \
  --argjson mismatch_video "$(refusal "$base/videos" -F model=wan-nano-i2v -F prompt="a red ball")" \
  --argjson bad_value "$(refusal "$base/videos" -F prompt=a -F 'provider_options[video][num_frames]=five')" \
  --argjson bad_value_video "$(refusal "$base/videos" -F prompt=a -F size=720p)" \
  --argjson bad_json "$(refusal "$base/responses" -H "$json" -d '{"model": ')" \
  --argjson no_model "$(refusal "$base/responses" -H "$json" -d '{"model": "nobody", "input": "a"}')" \
  --argjson no_path "$(refusal "$base/nowhere")" \
  '{$version,
    created: {model: $created.model, part: $created.output[0].content[0].type, file: $by_path, $part, $head},
    with_an_image: {model: $with_an_image.model, text: $with_an_image.output[0].content[0].text},
    polled: {first: $background.status, last: $polled.status},
    streamed: {types: ([$stream | scan("(?m)^event: (.*)$")[]] | reduce .[] as $t ([]; if index($t) then . else . + [$t] end)),
      done: ($stream | endswith("data: [DONE]"))},
    video: {status: $video.status, size: $video.size, seconds: $video.seconds, $file, $thumbnail, image_model: $with_file.model},
    listed: {page: ($listed.data | length), has_more: $listed.has_more},
    deleted: ($deleted + {video: $gone}),
    $fails,
    refused: {$mismatch, $mismatch_video, $bad_value, $bad_value_video, $bad_json, $no_model, $no_path}}'
