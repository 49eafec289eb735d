"""The client: what both routers are made of, and the resources that OpenAI's client has."""
