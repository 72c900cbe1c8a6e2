"""One frame for every event, as a server or client that keeps to the specification sends it.

`SERVER` and `CLIENT` hold the usual frame of each tag.  The variants are further shapes of the same
events, each under a name of its own: other kinds of session, of item, of usage and so on.
"""

import json
from typing import Any

SERVER: dict[str, str] = {
    # --- Session ---
    "error": """
        {"type": "error", "event_id": "event_890",
         "error": {"type": "invalid_request_error", "code": "invalid_value",
                   "message": "Invalid value: 'blue'. Supported values are: 'text' and 'audio'.",
                   "param": "session.output_modalities[0]", "event_id": "evt_c1"}}""",
    "session.created": """
        {"type": "session.created", "event_id": "event_C9G5", "session": {
            "type": "realtime", "object": "realtime.session", "id": "sess_C9G5", "model": "gpt-realtime",
            "output_modalities": ["audio"], "instructions": "Be kind. Be brief.",
            "tools": [], "tool_choice": "auto", "max_output_tokens": "inf", "tracing": null,
            "truncation": "auto", "prompt": null, "expires_at": 1756324625,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000}, "transcription": null,
                    "noise_reduction": null,
                    "turn_detection": {
                        "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                        "silence_duration_ms": 200, "idle_timeout_ms": null,
                        "create_response": true, "interrupt_response": true}},
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1}},
            "include": null}}""",
    "session.updated": """
        {"type": "session.updated", "event_id": "event_C9G8", "session": {
            "type": "realtime", "object": "realtime.session", "id": "sess_C9G5",
            "model": "gpt-realtime-2.1", "output_modalities": ["text"],
            "instructions": "Answer in one sentence.",
            "tools": [{"type": "function", "name": "get_weather", "description": "Weather now.",
                       "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                                      "required": ["city"], "strict": true}}],
            "tool_choice": {"type": "function", "name": "get_weather"},
            "reasoning": {"effort": "low"}, "max_output_tokens": 1024, "tracing": "auto",
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.8,
                           "token_limits": {"post_instructions": 8000}},
            "prompt": {"id": "pmpt_123", "version": "89", "variables": {"city": "Paris"}},
            "expires_at": 1756324832,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "transcription": {"model": "gpt-4o-transcribe", "language": "en",
                                      "prompt": "expect names of towns"},
                    "noise_reduction": {"type": "near_field"},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "high",
                                       "create_response": true, "interrupt_response": false}},
                "output": {"format": {"type": "audio/pcma"}, "voice": "cedar", "speed": 1.25}},
            "include": ["item.input_audio_transcription.logprobs"]}}""",
    "session.closed": '{"type": "session.closed", "event_id": "event_t9"}',
    "transcription_session.created": """
        {"type": "transcription_session.created", "event_id": "event_5566", "session": {
            "id": "sess_001", "object": "realtime.transcription_session",
            "client_secret": {"value": "ek_68af296e", "expires_at": 1756310470},
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-4o-transcribe", "language": "en", "prompt": ""},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                               "silence_duration_ms": 500},
            "input_audio_noise_reduction": {"type": "near_field"}, "include": null}}""",
    "transcription_session.updated": """
        {"type": "transcription_session.updated", "event_id": "event_5678", "session": {
            "id": "sess_001", "object": "realtime.transcription_session", "modalities": ["audio", "text"],
            "client_secret": {"value": "ek_68af296e", "expires_at": 1756310470},
            "input_audio_format": "g711_ulaw", "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                               "silence_duration_ms": 500, "create_response": true},
            "input_audio_noise_reduction": {"type": "far_field"}}}""",
    # --- Conversation ---
    "conversation.created": """
        {"type": "conversation.created", "event_id": "event_9101",
         "conversation": {"id": "conv_001", "object": "realtime.conversation"}}""",
    "conversation.item.created": """
        {"type": "conversation.item.created", "event_id": "event_1920", "previous_item_id": "msg_002",
         "item": {"id": "msg_003", "object": "realtime.item", "type": "message", "status": "completed",
                  "role": "user",
                  "content": [{"type": "input_audio", "transcript": "hello how are you"}]}}""",
    "conversation.item.added": """
        {"type": "conversation.item.added", "event_id": "event_C9G8pj", "previous_item_id": null,
         "item": {"id": "item_C9G8pQ", "object": "realtime.item", "type": "message",
                  "status": "completed", "role": "user",
                  "content": [{"type": "input_text", "text": "hi"}]}}""",
    "conversation.item.done": """
        {"type": "conversation.item.done", "event_id": "event_CCXLgM", "previous_item_id": "item_CCXKsv",
         "item": {"id": "item_CCXLfC", "object": "realtime.item", "type": "message",
                  "status": "completed", "role": "assistant",
                  "content": [{"type": "output_audio", "transcript": "Yes, I can hear you."},
                              {"type": "output_text", "text": "Yes."}]}}""",
    "conversation.item.retrieved": """
        {"type": "conversation.item.retrieved", "event_id": "event_CCXGSi",
         "item": {"id": "item_CCXGRv", "object": "realtime.item", "type": "message",
                  "status": "completed", "role": "user",
                  "content": [{"type": "input_audio", "transcript": "Can you hear me?",
                               "audio": "AAD//wEA/v8="}]}}""",
    "conversation.item.deleted": """
        {"type": "conversation.item.deleted", "event_id": "event_2728", "item_id": "msg_005"}""",
    "conversation.item.truncated": """
        {"type": "conversation.item.truncated", "event_id": "event_2526", "item_id": "msg_004",
         "content_index": 0, "audio_end_ms": 1500}""",
    "conversation.item.input_audio_transcription.delta": """
        {"type": "conversation.item.input_audio_transcription.delta", "event_id": "event_CCXGRx",
         "item_id": "item_CCXGQ4", "content_index": 0, "delta": "Hey"}""",
    "conversation.item.input_audio_transcription.segment": """
        {"type": "conversation.item.input_audio_transcription.segment", "event_id": "event_6501",
         "item_id": "msg_011", "content_index": 0, "text": "hello", "id": "seg_0001",
         "speaker": "spk_1", "start": 0.0, "end": 0.4}""",
    "conversation.item.input_audio_transcription.completed": """
        {"type": "conversation.item.input_audio_transcription.completed", "event_id": "event_CCXGRv",
         "item_id": "item_CCXGQ4", "content_index": 0, "transcript": "Hey, can you hear me?",
         "usage": {"type": "tokens", "total_tokens": 22, "input_tokens": 13,
                   "input_token_details": {"text_tokens": 0, "audio_tokens": 13},
                   "output_tokens": 9}}""",
    "conversation.item.input_audio_transcription.failed": """
        {"type": "conversation.item.input_audio_transcription.failed", "event_id": "event_2324",
         "item_id": "msg_003", "content_index": 0,
         "error": {"type": "transcription_error", "code": "audio_unintelligible",
                   "message": "The audio could not be transcribed."}}""",
    # --- The user's audio ---
    "input_audio_buffer.committed": """
        {"type": "input_audio_buffer.committed", "event_id": "event_1121",
         "previous_item_id": "msg_001", "item_id": "msg_002"}""",
    "input_audio_buffer.cleared": '{"type": "input_audio_buffer.cleared", "event_id": "event_1314"}',
    "input_audio_buffer.speech_started": """
        {"type": "input_audio_buffer.speech_started", "event_id": "event_1516",
         "audio_start_ms": 1000, "item_id": "msg_003"}""",
    "input_audio_buffer.speech_stopped": """
        {"type": "input_audio_buffer.speech_stopped", "event_id": "event_1718",
         "audio_end_ms": 2000, "item_id": "msg_003"}""",
    "input_audio_buffer.timeout_triggered": """
        {"type": "input_audio_buffer.timeout_triggered", "event_id": "event_CEKKrf",
         "audio_start_ms": 13216, "audio_end_ms": 19232, "item_id": "item_CEKKrW"}""",
    "input_audio_buffer.dtmf_event_received": """
        {"type": "input_audio_buffer.dtmf_event_received", "event": "9", "received_at": 1763605109}""",
    # --- Responses ---
    "response.created": """
        {"type": "response.created", "event_id": "event_C9G8pq", "response": {
            "object": "realtime.response", "id": "resp_C9G8po", "status": "in_progress",
            "status_details": null, "output": [], "conversation_id": "conv_C9G8og",
            "output_modalities": ["audio"], "max_output_tokens": "inf",
            "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}},
            "usage": null, "metadata": null}}""",
    "response.done": """
        {"type": "response.done", "event_id": "event_CCXHxc", "response": {
            "object": "realtime.response", "id": "resp_CCXHw0", "status": "completed",
            "status_details": null,
            "output": [{"id": "item_CCXHwG", "object": "realtime.item", "type": "message",
                        "status": "completed", "role": "assistant",
                        "content": [{"type": "output_audio",
                                     "transcript": "Loud and clear! I can hear you."}]}],
            "conversation_id": "conv_CCXHsu", "output_modalities": ["audio"], "max_output_tokens": 4096,
            "audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}},
            "usage": {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
                      "input_token_details": {
                          "text_tokens": 119, "audio_tokens": 13, "image_tokens": 0, "cached_tokens": 64,
                          "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0,
                                                    "image_tokens": 0}},
                      "output_token_details": {"text_tokens": 30, "audio_tokens": 91}},
            "metadata": {"topic": "greeting"}}}""",
    "response.cancelled": """
        {"type": "response.cancelled", "event_id": "event_77", "response_id": "resp_001"}""",
    "response.output_item.added": """
        {"type": "response.output_item.added", "event_id": "event_3334", "response_id": "resp_001",
         "output_index": 0,
         "item": {"id": "msg_007", "object": "realtime.item", "type": "message",
                  "status": "in_progress", "role": "assistant", "content": []}}""",
    "response.output_item.done": """
        {"type": "response.output_item.done", "event_id": "event_3536", "response_id": "resp_001",
         "output_index": 1,
         "item": {"id": "fc_008", "object": "realtime.item", "type": "function_call",
                  "status": "completed", "call_id": "call_001", "name": "get_weather",
                  "arguments": "{\\"city\\": \\"Paris\\"}"}}""",
    "response.content_part.added": """
        {"type": "response.content_part.added", "event_id": "event_3738", "response_id": "resp_001",
         "item_id": "msg_007", "output_index": 0, "content_index": 0,
         "part": {"type": "audio", "transcript": ""}}""",
    "response.content_part.done": """
        {"type": "response.content_part.done", "event_id": "event_3940", "response_id": "resp_001",
         "item_id": "msg_007", "output_index": 0, "content_index": 0,
         "part": {"type": "text", "text": "Sure, I can help."}}""",
    "response.output_text.delta": """
        {"type": "response.output_text.delta", "event_id": "event_4142", "response_id": "resp_001",
         "item_id": "msg_007", "output_index": 0, "content_index": 0, "delta": "Sure, I can h"}""",
    "response.output_text.done": """
        {"type": "response.output_text.done", "event_id": "event_4344", "response_id": "resp_001",
         "item_id": "msg_007", "output_index": 0, "content_index": 0, "text": "Sure, I can help."}""",
    "response.output_audio.delta": """
        {"type": "response.output_audio.delta", "event_id": "event_4950", "response_id": "resp_001",
         "item_id": "msg_008", "output_index": 0, "content_index": 0, "delta": "AAECAwQFBgc="}""",
    "response.output_audio.done": """
        {"type": "response.output_audio.done", "event_id": "event_5152", "response_id": "resp_001",
         "item_id": "msg_008", "output_index": 0, "content_index": 0}""",
    "response.output_audio_transcript.delta": """
        {"type": "response.output_audio_transcript.delta", "event_id": "event_4546",
         "response_id": "resp_001", "item_id": "msg_008", "output_index": 0, "content_index": 0,
         "delta": "Hello, how can I a"}""",
    "response.output_audio_transcript.done": """
        {"type": "response.output_audio_transcript.done", "event_id": "event_4748",
         "response_id": "resp_001", "item_id": "msg_008", "output_index": 0, "content_index": 0,
         "transcript": "Hello, how can I assist you today?"}""",
    "response.function_call_arguments.delta": """
        {"type": "response.function_call_arguments.delta", "event_id": "event_5354",
         "response_id": "resp_002", "item_id": "fc_001", "output_index": 0, "call_id": "call_001",
         "delta": "{\\"location\\": \\"San"}""",
    "response.function_call_arguments.done": """
        {"type": "response.function_call_arguments.done", "event_id": "event_5556",
         "response_id": "resp_002", "item_id": "fc_001", "output_index": 0, "call_id": "call_001",
         "name": "get_weather", "arguments": "{\\"location\\": \\"San Francisco\\"}"}""",
    "response.mcp_call_arguments.delta": """
        {"type": "response.mcp_call_arguments.delta", "event_id": "event_6201",
         "response_id": "resp_001", "item_id": "mcp_001", "output_index": 0,
         "delta": "{\\"partial\\":true}", "obfuscation": "p4d"}""",
    "response.mcp_call_arguments.done": """
        {"type": "response.mcp_call_arguments.done", "event_id": "event_6202", "response_id": "resp_001",
         "item_id": "mcp_001", "output_index": 0, "arguments": "{\\"q\\":\\"docs\\"}"}""",
    "response.mcp_call.in_progress": """
        {"type": "response.mcp_call.in_progress", "event_id": "event_6301", "output_index": 0,
         "item_id": "mcp_001"}""",
    "response.mcp_call.completed": """
        {"type": "response.mcp_call.completed", "event_id": "event_6302", "output_index": 0,
         "item_id": "mcp_001"}""",
    "response.mcp_call.failed": """
        {"type": "response.mcp_call.failed", "event_id": "event_6303", "output_index": 0,
         "item_id": "mcp_001"}""",
    "mcp_list_tools.in_progress": """
        {"type": "mcp_list_tools.in_progress", "event_id": "event_6101", "item_id": "mcpl_001"}""",
    "mcp_list_tools.completed": """
        {"type": "mcp_list_tools.completed", "event_id": "event_6102", "item_id": "mcpl_001"}""",
    "mcp_list_tools.failed": """
        {"type": "mcp_list_tools.failed", "event_id": "event_6103", "item_id": "mcpl_001"}""",
    "rate_limits.updated": """
        {"type": "rate_limits.updated", "event_id": "event_5758", "rate_limits": [
            {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 60},
            {"name": "tokens", "limit": 50000, "remaining": 49950, "reset_seconds": 0.06}]}""",
    # --- The server's own playback ---
    "output_audio_buffer.started": """
        {"type": "output_audio_buffer.started", "event_id": "event_abc123", "response_id": "resp_abc"}""",
    "output_audio_buffer.stopped": """
        {"type": "output_audio_buffer.stopped", "event_id": "event_abc124", "response_id": "resp_abc"}""",
    "output_audio_buffer.cleared": """
        {"type": "output_audio_buffer.cleared", "event_id": "event_abc125", "response_id": "resp_abc"}""",
    # --- Translation ---
    "session.input_transcript.delta": """
        {"type": "session.input_transcript.delta", "event_id": "event_t1", "delta": " hello",
         "elapsed_ms": 1200}""",
    "session.output_transcript.delta": """
        {"type": "session.output_transcript.delta", "event_id": "event_t2", "delta": " hola",
         "elapsed_ms": null}""",
    "session.output_audio.delta": """
        {"type": "session.output_audio.delta", "event_id": "event_t3", "delta": "AAD/fwCA",
         "sample_rate": 24000, "channels": 1, "format": "pcm16", "elapsed_ms": 1200}""",
    # --- Beta names ---
    "response.text.delta": """
        {"type": "response.text.delta", "event_id": "event_b1", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0, "delta": "Sure"}""",
    "response.text.done": """
        {"type": "response.text.done", "event_id": "event_b2", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0, "text": "Sure thing."}""",
    "response.audio.delta": """
        {"type": "response.audio.delta", "event_id": "event_b3", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0, "delta": "AAECAw=="}""",
    "response.audio.done": """
        {"type": "response.audio.done", "event_id": "event_b4", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0}""",
    "response.audio_transcript.delta": """
        {"type": "response.audio_transcript.delta", "event_id": "event_b5", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0, "delta": "Hel"}""",
    "response.audio_transcript.done": """
        {"type": "response.audio_transcript.done", "event_id": "event_b6", "response_id": "resp_b",
         "item_id": "msg_b", "output_index": 0, "content_index": 0, "transcript": "Hello."}""",
}
"""Server frames by tag."""

SERVER_VARIANTS: dict[str, str] = {
    "error without a cause": """
        {"type": "error", "event_id": "event_891",
         "error": {"type": "server_error", "code": null, "message": "The server had an error.",
                   "param": null, "event_id": null}}""",
    "error, short": """
        {"type": "error", "event_id": "event_892",
         "error": {"type": "invalid_request_error", "message": "Incorrect API key provided."}}""",
    # --- Kinds of session ---
    "session, transcription": """
        {"type": "session.created", "event_id": "event_C9GT", "session": {
            "type": "transcription", "object": "realtime.transcription_session", "id": "sess_C9GT",
            "expires_at": 1756324625, "include": ["item.input_audio_transcription.logprobs"],
            "audio": {"input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-transcribe", "languages": ["de", "fr"]},
                "noise_reduction": {"type": "far_field"},
                "turn_detection": {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 200,
                                   "silence_duration_ms": 400}}}}}""",
    "session, translation": """
        {"type": "session.created", "event_id": "event_C9GX", "session": {
            "type": "translation", "id": "sess_C9GX", "expires_at": 1756324625,
            "model": "gpt-realtime-translate",
            "audio": {"input": {"transcription": {"model": "gpt-realtime-whisper"},
                                "noise_reduction": null},
                      "output": {"language": "es"}}}}""",
    "session, translation updated": """
        {"type": "session.updated", "event_id": "event_C9GY", "session": {
            "type": "translation", "id": "sess_C9GX", "expires_at": 1756324625,
            "model": "gpt-realtime-translate",
            "audio": {"input": {"transcription": null, "noise_reduction": {"type": "near_field"}},
                      "output": {"language": "fr"}}}}""",
    "session, beta": """
        {"type": "session.created", "event_id": "event_1234", "session": {
            "id": "sess_001", "object": "realtime.session", "model": "gpt-4o-realtime-preview",
            "modalities": ["text", "audio"], "instructions": "", "voice": "alloy",
            "input_audio_format": "pcm16", "output_audio_format": "g711_alaw",
            "input_audio_transcription": {"model": "whisper-1"},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                               "silence_duration_ms": 200},
            "input_audio_noise_reduction": {"type": "near_field"}, "speed": 1.1, "tracing": "auto",
            "tools": [], "tool_choice": "auto", "temperature": 0.8,
            "max_response_output_tokens": "inf", "expires_at": 1756324625,
            "prompt": null, "include": null}}""",
    "session, beta, all off": """
        {"type": "session.updated", "event_id": "event_1235", "session": {
            "id": "sess_001", "object": "realtime.session", "input_audio_transcription": null,
            "turn_detection": null, "tracing": null, "max_response_output_tokens": 200}}""",
    "session, push to talk": """
        {"type": "session.updated", "event_id": "event_C9G9", "session": {
            "type": "realtime", "object": "realtime.session", "id": "sess_C9G5",
            "audio": {"input": {"turn_detection": null}}, "truncation": "disabled",
            "tracing": {"workflow_name": "demo", "group_id": "g1", "metadata": {"user": "u1", "n": 3}},
            "tool_choice": "required"}}""",
    "session, MCP tool": """
        {"type": "session.updated", "event_id": "event_C9GA", "session": {
            "type": "realtime", "object": "realtime.session", "id": "sess_C9G5",
            "tools": [
                {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp",
                 "allowed_tools": ["search"], "require_approval": "never", "headers": null,
                 "allowed_callers": ["direct"]},
                {"type": "mcp", "server_label": "mail", "connector_id": "connector_gmail",
                 "allowed_tools": {"read_only": true}, "allowed_callers": null,
                 "require_approval": {"always": {"tool_names": ["send"]}, "never": {"read_only": true}}}],
            "tool_choice": {"type": "mcp", "server_label": "docs", "name": "search"}}}""",
    # --- Kinds of item ---
    "item, system message": """
        {"type": "conversation.item.added", "event_id": "event_i1", "previous_item_id": "item_0",
         "item": {"id": "item_1", "object": "realtime.item", "type": "message", "status": "completed",
                  "role": "system", "content": [{"type": "input_text", "text": "Speak like a pirate."}]}}""",
    "item, user message with all parts": """
        {"type": "conversation.item.done", "event_id": "event_i2", "previous_item_id": null,
         "item": {"id": "item_2", "object": "realtime.item", "type": "message", "status": "completed",
                  "role": "user", "content": [
                      {"type": "input_text", "text": "What is this?"},
                      {"type": "input_audio", "transcript": "What is this?"},
                      {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=",
                       "detail": "low"}]}}""",
    "item, assistant audio retrieved": """
        {"type": "conversation.item.retrieved", "event_id": "event_i3",
         "item": {"id": "item_3", "object": "realtime.item", "type": "message", "status": "incomplete",
                  "role": "assistant", "content": [
                      {"type": "output_audio", "transcript": "Ahoy", "audio": "/////w=="}]}}""",
    "item, beta assistant message": """
        {"type": "conversation.item.created", "event_id": "event_i4", "previous_item_id": null,
         "item": {"id": "item_4", "object": "realtime.item", "type": "message", "status": "completed",
                  "role": "assistant", "content": [{"type": "text", "text": "Hello."},
                                                   {"type": "audio", "transcript": "Hello."}]}}""",
    "item, function call": """
        {"type": "conversation.item.added", "event_id": "event_i5", "previous_item_id": "item_4",
         "item": {"id": "item_5", "object": "realtime.item", "type": "function_call",
                  "status": "in_progress", "call_id": "call_5", "name": "get_weather",
                  "arguments": ""}}""",
    "item, function call output": """
        {"type": "conversation.item.added", "event_id": "event_i6", "previous_item_id": "item_5",
         "item": {"id": "item_6", "object": "realtime.item", "type": "function_call_output",
                  "status": "completed", "call_id": "call_5", "output": "{\\"temp\\": 21}"}}""",
    "item, MCP approval request": """
        {"type": "conversation.item.done", "event_id": "event_i7", "previous_item_id": "item_6",
         "item": {"id": "mcpr_7", "type": "mcp_approval_request", "server_label": "mail",
                  "name": "send", "arguments": "{\\"to\\": \\"bob\\"}"}}""",
    "item, MCP approval response": """
        {"type": "conversation.item.added", "event_id": "event_i8", "previous_item_id": "mcpr_7",
         "item": {"id": "item_8", "type": "mcp_approval_response", "approval_request_id": "mcpr_7",
                  "approve": false, "reason": null}}""",
    "item, MCP tools": """
        {"type": "conversation.item.done", "event_id": "event_i9", "previous_item_id": "item_8",
         "item": {"id": "mcpl_9", "type": "mcp_list_tools", "server_label": "docs", "tools": [
             {"name": "search", "description": "Search the pages.",
              "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}},
              "annotations": {"readOnlyHint": true}},
             {"name": "fetch", "description": null, "input_schema": {}, "annotations": null}]}}""",
    "item, MCP call": """
        {"type": "response.output_item.done", "event_id": "event_i10", "response_id": "resp_1",
         "output_index": 0,
         "item": {"id": "mcp_10", "type": "mcp_call", "server_label": "docs", "name": "search",
                  "arguments": "{\\"q\\": \\"vad\\"}", "approval_request_id": null,
                  "output": "3 pages", "error": null}}""",
    "item, MCP call, protocol error": """
        {"type": "response.output_item.done", "event_id": "event_i11", "response_id": "resp_1",
         "output_index": 0,
         "item": {"id": "mcp_11", "type": "mcp_call", "server_label": "docs", "name": "search",
                  "arguments": "{}", "approval_request_id": "mcpr_7", "output": null,
                  "error": {"type": "protocol_error", "code": -32601, "message": "Method not found"}}}""",
    "item, MCP call, tool error": """
        {"type": "response.output_item.done", "event_id": "event_i12", "response_id": "resp_1",
         "output_index": 0,
         "item": {"id": "mcp_12", "type": "mcp_call", "server_label": "docs", "name": "search",
                  "arguments": "{}", "error": {"type": "tool_execution_error", "message": "No index"}}}""",
    "item, MCP call, HTTP error": """
        {"type": "response.output_item.done", "event_id": "event_i13", "response_id": "resp_1",
         "output_index": 0,
         "item": {"id": "mcp_13", "type": "mcp_call", "server_label": "docs", "name": "search",
                  "arguments": "{}", "error": {"type": "http_error", "code": 503, "message": "Busy"}}}""",
    # --- Transcription ---
    "transcription, delta with log probabilities": """
        {"type": "conversation.item.input_audio_transcription.delta", "event_id": "event_x1",
         "item_id": "item_x", "content_index": 0, "delta": "Hé",
         "logprobs": [{"token": "Hé", "logprob": -0.01, "bytes": [72, 195, 169]}]}""",
    "transcription, nothing new": """
        {"type": "conversation.item.input_audio_transcription.delta", "event_id": "event_x2",
         "item_id": "item_x", "logprobs": null}""",
    "transcription, billed by time": """
        {"type": "conversation.item.input_audio_transcription.completed", "event_id": "event_x3",
         "item_id": "item_x", "content_index": 0, "transcript": "Grüezi",
         "languages": [{"code": "de"}], "logprobs": [{"token": "Gr", "logprob": 0, "bytes": [71, 114]}],
         "usage": {"type": "duration", "seconds": 1.5}}""",
    "transcription, plain tokens": """
        {"type": "conversation.item.input_audio_transcription.completed", "event_id": "event_x4",
         "item_id": "item_x", "content_index": 0, "transcript": "", "logprobs": null,
         "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 1, "total_tokens": 6}}""",
    # --- Ends of a response ---
    "response cancelled by the user's voice": """
        {"type": "response.done", "event_id": "event_r1", "response": {
            "object": "realtime.response", "id": "resp_r1", "status": "cancelled",
            "status_details": {"type": "cancelled", "reason": "turn_detected"}, "output": [],
            "conversation_id": "conv_1", "output_modalities": ["audio"], "max_output_tokens": "inf",
            "usage": {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
                      "input_token_details": {"text_tokens": 0, "audio_tokens": 0, "cached_tokens": 0},
                      "output_token_details": {"text_tokens": 0, "audio_tokens": 0}},
            "metadata": null}}""",
    "response cancelled by the client": """
        {"type": "response.done", "event_id": "event_r2", "response": {
            "object": "realtime.response", "id": "resp_r2", "status": "cancelled",
            "status_details": {"type": "cancelled", "reason": "client_cancelled"}, "output": []}}""",
    "response incomplete": """
        {"type": "response.done", "event_id": "event_r3", "response": {
            "object": "realtime.response", "id": "resp_r3", "status": "incomplete",
            "status_details": {"type": "incomplete", "reason": "max_output_tokens"},
            "output": [{"id": "item_r3", "object": "realtime.item", "type": "message",
                        "status": "incomplete", "role": "assistant",
                        "content": [{"type": "output_text", "text": "Once upon"}]}],
            "max_output_tokens": 2}}""",
    "response failed": """
        {"type": "response.done", "event_id": "event_r4", "response": {
            "object": "realtime.response", "id": "resp_r4", "status": "failed",
            "status_details": {"type": "failed", "error": {
                "type": "insufficient_quota", "code": "insufficient_quota",
                "message": "You exceeded your current quota."}}, "output": []}}""",
    "response with a function call": """
        {"type": "response.done", "event_id": "event_r5", "response": {
            "object": "realtime.response", "id": "resp_r5", "status": "completed",
            "status_details": {"type": "completed"},
            "output": [{"id": "fc_1", "object": "realtime.item", "type": "function_call",
                        "status": "completed", "call_id": "call_1", "name": "get_weather",
                        "arguments": "{}"}]}}""",
    "response, beta": """
        {"type": "response.done", "event_id": "event_r6", "response": {
            "object": "realtime.response", "id": "resp_r6", "status": "completed",
            "status_details": null,
            "output": [{"id": "msg_6", "object": "realtime.item", "type": "message",
                        "status": "completed", "role": "assistant",
                        "content": [{"type": "audio", "transcript": "Hi."}]}],
            "conversation_id": "conv_1", "modalities": ["text", "audio"], "voice": "alloy",
            "output_audio_format": "pcm16", "temperature": 0.8, "max_output_tokens": "inf",
            "usage": {"total_tokens": 9, "input_tokens": 5, "output_tokens": 4,
                      "input_token_details": {"cached_tokens": 0, "text_tokens": 5, "audio_tokens": 0},
                      "output_token_details": {"text_tokens": 1, "audio_tokens": 3}},
            "metadata": {}}}""",
    "response cancelled, whole": """
        {"type": "response.cancelled", "event_id": "event_78",
         "response": {"id": "resp_001", "object": "realtime.response", "status": "cancelled"}}""",
    # --- The smallest ---
    "first item committed": """
        {"type": "input_audio_buffer.committed", "event_id": "event_s1", "previous_item_id": null,
         "item_id": "msg_001"}""",
    "translated sound without its format": """
        {"type": "session.output_audio.delta", "event_id": "event_s2", "delta": ""}""",
    "part with sound": """
        {"type": "response.content_part.done", "event_id": "event_s3", "response_id": "resp_001",
         "item_id": "msg_007", "output_index": 0, "content_index": 0,
         "part": {"type": "audio", "audio": "AAA=", "transcript": "Hm."}}""",
    "arguments without padding": """
        {"type": "response.mcp_call_arguments.delta", "event_id": "event_s4", "response_id": "resp_001",
         "item_id": "mcp_001", "output_index": 0, "delta": "{}", "obfuscation": null}""",
    "no limits": '{"type": "rate_limits.updated", "event_id": "event_s5", "rate_limits": []}',
    "conversation without a name": """
        {"type": "conversation.created", "event_id": "event_s6", "conversation": {}}""",
}
"""Further shapes of server events."""

CLIENT: dict[str, str] = {
    "session.update": """
        {"type": "session.update", "event_id": "evt_1", "session": {
            "type": "realtime", "model": "gpt-realtime", "output_modalities": ["audio"],
            "instructions": "You are a creative assistant.",
            "tools": [{"type": "function", "name": "display_color_palette",
                       "description": "Call this when a user asks for colors.",
                       "parameters": {"type": "object", "properties": {
                           "theme": {"type": "string", "description": "What it is about."}}}}],
            "tool_choice": "auto", "parallel_tool_calls": false, "max_output_tokens": 500,
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000},
                                "turn_detection": {"type": "semantic_vad"}},
                      "output": {"voice": {"id": "voice_1234"}, "speed": 1.5}}}}""",
    "transcription_session.update": """
        {"type": "transcription_session.update", "event_id": "evt_2", "session": {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": "", "language": ""},
            "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                               "silence_duration_ms": 500, "create_response": true},
            "input_audio_noise_reduction": {"type": "near_field"},
            "include": ["item.input_audio_transcription.logprobs"]}}""",
    "conversation.item.create": """
        {"type": "conversation.item.create", "event_id": "evt_3", "previous_item_id": "root",
         "item": {"type": "message", "role": "user",
                  "content": [{"type": "input_text", "text": "hi"}]}}""",
    "conversation.item.retrieve": """
        {"type": "conversation.item.retrieve", "event_id": "evt_4", "item_id": "item_003"}""",
    "conversation.item.truncate": """
        {"type": "conversation.item.truncate", "event_id": "evt_5", "item_id": "item_1234",
         "content_index": 0, "audio_end_ms": 1500}""",
    "conversation.item.delete": """
        {"type": "conversation.item.delete", "event_id": "evt_6", "item_id": "item_003"}""",
    "input_audio_buffer.append": """
        {"type": "input_audio_buffer.append", "event_id": "evt_7", "audio": "AAD//wEA"}""",
    "input_audio_buffer.commit": '{"type": "input_audio_buffer.commit", "event_id": "evt_8"}',
    "input_audio_buffer.clear": '{"type": "input_audio_buffer.clear", "event_id": "evt_9"}',
    "output_audio_buffer.clear": '{"type": "output_audio_buffer.clear", "event_id": "evt_10"}',
    "response.create": """
        {"type": "response.create", "event_id": "evt_11", "response": {
            "instructions": "Classify the topic.", "tools": [], "conversation": "none",
            "output_modalities": ["text"], "metadata": {"response_purpose": "summarization"},
            "tool_choice": {"type": "mcp", "server_label": "docs", "name": null},
            "max_output_tokens": "inf", "reasoning": {"effort": "minimal"}, "parallel_tool_calls": true,
            "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}},
            "input": [{"type": "message", "role": "user",
                       "content": [{"type": "input_text", "text": "Summarize."}]}]}}""",
    "response.cancel": """
        {"type": "response.cancel", "event_id": "evt_12", "response_id": "resp_12345"}""",
    "session.input_audio_buffer.append": """
        {"type": "session.input_audio_buffer.append", "event_id": "evt_13", "audio": "AAAAAA=="}""",
    "session.close": '{"type": "session.close", "event_id": "evt_14"}',
}
"""Client frames by tag."""

CLIENT_VARIANTS: dict[str, str] = {
    "session, MCP tool in full": """
        {"type": "session.update", "session": {
            "type": "realtime",
            "tools": [
                {"type": "mcp", "server_label": "docs", "server_url": "https://example.com/mcp",
                 "authorization": "oauth-token", "server_description": "Our pages.",
                 "headers": {"X-Team": "red"}, "allowed_tools": {"tool_names": ["search"],
                                                                 "read_only": true},
                 "allowed_callers": ["direct", "programmatic"], "require_approval": "always",
                 "defer_loading": true},
                {"type": "mcp", "server_label": "home", "tunnel_id": "tunnel_1", "headers": null,
                 "allowed_tools": null, "require_approval": null}],
            "tool_choice": "none"}}""",
    "session, prompt with all kinds of variables": """
        {"type": "session.update", "session": {
            "type": "realtime",
            "prompt": {"id": "pmpt_1", "version": null, "variables": {
                "name": "Ada",
                "greeting": {"type": "input_text", "text": "Hi",
                             "prompt_cache_breakpoint": {"mode": "explicit"}},
                "picture": {"type": "input_image", "image_url": "https://example.com/a.png",
                            "detail": "original"},
                "stored_picture": {"type": "input_image", "file_id": "file_1", "detail": "auto",
                                   "prompt_cache_breakpoint": {"mode": "explicit"}},
                "paper": {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0=",
                          "detail": "high", "prompt_cache_breakpoint": {"mode": "explicit"}},
                "web_paper": {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                "stored_paper": {"type": "input_file", "file_id": "file_2"}}}}}""",
    "session, prompt without variables": """
        {"type": "session.update", "session": {
            "type": "realtime", "prompt": {"id": "pmpt_1", "variables": null}}}""",
    "session, everything cleared": """
        {"type": "session.update", "session": {
            "type": "realtime", "tracing": null, "prompt": null, "max_output_tokens": "inf",
            "audio": {"input": {"turn_detection": null}}}}""",
    "session, truncation": """
        {"type": "session.update", "session": {
            "type": "realtime", "truncation": {"type": "retention_ratio", "retention_ratio": 0.5}}}""",
    "session, idle timeout": """
        {"type": "session.update", "session": {
            "type": "realtime", "tracing": {"workflow_name": "w"},
            "audio": {"input": {"turn_detection": {
                "type": "server_vad", "idle_timeout_ms": 5000, "interrupt_response": false}}}}}""",
    "session, transcription": """
        {"type": "session.update", "session": {
            "type": "transcription", "include": ["item.input_audio_transcription.logprobs"],
            "audio": {"input": {
                "format": {"type": "audio/pcma"},
                "transcription": {"model": "gpt-live-transcribe", "languages": ["en", "de"],
                                  "keywords": ["Realtime"], "prompt": "names", "delay": "low"},
                "noise_reduction": {"type": "near_field"}}}}}""",
    "session, translation": """
        {"type": "session.update", "session": {
            "audio": {"input": {"transcription": null, "noise_reduction": null},
                      "output": {"language": "es"}}}}""",
    "session, beta": """
        {"type": "session.update", "session": {
            "client_secret": {"value": "ek_1", "expires_at": 1756310470},
            "modalities": ["text", "audio"], "instructions": "", "voice": "sage",
            "input_audio_format": "pcm16", "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad"},
            "tools": [], "tool_choice": "auto", "temperature": 0.8, "speed": 0.25,
            "max_response_output_tokens": 4096, "truncation": "auto"}}""",
    "item, user message with all parts": """
        {"type": "conversation.item.create", "item": {
            "type": "message", "id": "my_item", "role": "user", "content": [
                {"type": "input_text", "text": "What do you see?"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=",
                 "detail": "high"},
                {"type": "input_audio", "audio": "AAD//w=="}]}}""",
    "item, assistant history": """
        {"type": "conversation.item.create", "previous_item_id": "item_1", "item": {
            "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "A cat."},
                        {"type": "output_audio", "audio": "AAA=", "transcript": "A cat."}]}}""",
    "item, function call output": """
        {"type": "conversation.item.create", "item": {
            "type": "function_call_output", "call_id": "call_1", "output": "{}"}}""",
    "item, MCP approval response": """
        {"type": "conversation.item.create", "item": {
            "type": "mcp_approval_response", "id": "mcpa_1", "approval_request_id": "mcpr_1",
            "approve": true, "reason": "ok"}}""",
    "response, empty": '{"type": "response.create"}',
    "response, no settings": '{"type": "response.create", "response": {}}',
    "response, beta": """
        {"type": "response.create", "response": {
            "modalities": ["text"], "voice": {"id": "voice_1"}, "output_audio_format": "g711_ulaw",
            "temperature": 0.6, "max_output_tokens": 20, "conversation": "auto", "metadata": null,
            "tool_choice": {"type": "function", "name": "f"}, "prompt": null, "input": []}}""",
    "response, input by reference": """
        {"type": "response.create", "response": {
            "conversation": "none", "input": [{"type": "item_reference", "id": "item_12345"}]}}""",
    "response cancel, the running one": '{"type": "response.cancel"}',
}
"""Further shapes of client events."""

ALL_SERVER: dict[str, str] = SERVER | SERVER_VARIANTS
ALL_CLIENT: dict[str, str] = CLIENT | CLIENT_VARIANTS


def frame(text: str) -> Any:
    """A sample as Python objects, fresh at each call."""
    return json.loads(text)
