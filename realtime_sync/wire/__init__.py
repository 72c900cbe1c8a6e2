"""The connection: TCP, proxies, TLS, the opening handshake, WebSocket frames, and one reader of them."""
