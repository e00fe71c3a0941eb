"""What the mock does where xAI's behaviour is unknown or its sources disagree. Every such choice is here.

A test that leans on one of these shows how the mock behaves, not how api.x.ai behaves.

- stream_options.include_usage unset: no usage chunk (OpenAI's meaning of the word; unknown for xAI).
- Response headers of a stream go out with its first token, so that x-metrics-ttft-ms can be among them;
  mean-itl and e2e are sent on whole answers only.
- Unknown model on chat: 404 (documented; /v1/responses was recorded with 400).
- presence_penalty, frequency_penalty: 400 on models that reason (documented). stop: 400 where the request
  reasons, taken with reasoning_effort "none" (documented as refused; one report saw it taken). The tokens of
  the stop sequence are generated and billed, and not said.
- n: up to 128 choices over one prompt, which is prefilled and billed once; the other choices start when the
  first has its first token.
- A deferred completion can be fetched once, within 24 hours (documented), by its own key. With stream: 400.
- /v1/responses streams with `event:` lines and no [DONE]; response.created goes out with the first token, as
  the headers do. What max_output_tokens cuts is "incomplete", its last event response.incomplete.
- /v1/responses: tools other than functions (web_search, ...) are taken, counted in the prompt and never
  called, so that no server-side tool fee arises. background true: 400. Instructions do not carry over.
- Content parts other than text (images, files): 400. service_tier other than default and priority: 400.
- /v1/language-models: version "1.0", text alone, no search_price (its unit is not known).
- tokenize-text states the limits of requests, as recorded, and takes nothing of them.
- The reasoning text has a word for every reasoning token (recordings of 2026 show shorter summaries).
- Request ids are random, so that a client can key on them; ids of tool calls follow the seed, as texts do.
- logprobs, top_logprobs, logit_bias, temperature, top_p, user, search parameters: taken and ignored.
- Prompt tokens = preamble + ceil((bytes of message contents + of tools as compact JSON) / bytes_per_token);
  the tool calls inside an assistant's message are not counted.
- A client that leaves in mid-answer is not billed (no usage was sent; unknown for xAI).
- Rate limits: token buckets per key and model (rate_limits.py), one second's requests and one minute's
  tokens, filled steadily; a prompt's tokens are taken at admission, the answer's at its end. xAI's algorithm,
  its burst and the time of the charge are unknown. Requests per minute are stated, as recorded, and not
  enforced: the documented limit is the one per second. remaining-requests is what is left of the second's
  bucket, as a share of the stated minute (recordings had remaining = limit, as an unlimited mock says).
- 429 and 503 carry Retry-After in whole seconds, at least 1 (unknown for xAI); a request refused for its rate
  takes nothing from the buckets.
- A full queue: 429 with the capacity message, the form it was seen in; a replica that is down or starts: 503.
- An answer that a fault ends before its time is not billed; one that is only garbled or lacks its usage is.
- With max tokens given, plain text is exactly that long ("length"): load tests set lengths so.
- A deferred completion meets no faults of bytes when it is fetched; one whose replica crashed is 503, once.
- A tool is called when tools are given, tool_choice permits and the last message is the user's.
- prompt + answer never pass the context: the answer is cut there with finish_reason "length".
"""

INCLUDE_USAGE_WHEN_UNSET = False

# what the x-ratelimit headers state where no limit is enforced
STATED_LIMIT_TIER = "T4"
RETRY_AFTER_S = 1  # at capacity: how long the queue will be full is not known either

# share of tool turns with two calls, where two tools are given and parallel_tool_calls is not false: assumed
SECOND_CALL_SHARE = 0.2

TEAM_ID = "6f0b4b1c-2d0e-4c55-9b1e-5e12be9c4a11"  # named in error texts; a constant, not an account

# stored responses (store is true unless it says false): the oldest go past either
MAX_STORED_RESPONSES = 10_000
MAX_STORED_BYTES = 64 * 2**20

DEFERRED_KEPT_S = 24 * 3600.0
MAX_DEFERRED = 10_000

# API keys whose requests are refused as xAI would, so that a client's handling of it can be tried
KEY_WITHOUT_CREDITS = "xai-mock-no-credits"  # 403
KEY_AT_ITS_LIMIT = "xai-mock-rate-limited"  # 429
KEY_AT_CAPACITY = "xai-mock-at-capacity"  # 429
KEY_UNSAFE = "xai-mock-unsafe"  # 403, and $0.05 on /v1/responses
SAFETY_FEE_TICKS = 500_000_000

MAX_BODY_BYTES = 64 * 2**20
MAX_CHOICES = 128
MAX_STOPS = 4  # OpenAI's limit
MAX_TOOLS = 350  # the largest of three documented limits (128, 200, 350)
# bodies past this are parsed, joined and hashed by another process
OFF_LOOP_BYTES = 256 * 2**10
TOKENIZED_ON_LOOP_BYTES = 16 * 2**10

# short bodies whose reading is remembered, as load tests repeat them: at most 8 MB
REMEMBERED_BODIES, REMEMBERED_BODY_BYTES = 2048, 4096

# a client that does not read: past this many buffered bytes its tokens are counted, and written when it reads
UNREAD_BYTES = 256 * 2**10
# ... and after this long without progress its connection is cut
UNREAD_TIMEOUT_S = 60.0

STOP_GRACE_S = 1.5  # what streams get to finish when the server is told to stop

# steps further than this behind the wall clock are not made good: the engine's clock slips instead. In real
# time a machine's stalls are made good; a time scale above 1 may ask for more than the machine can give
MAX_LAG_S = 2.0
MAX_SCALED_LAG_S = 0.1
