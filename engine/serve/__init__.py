"""The HTTP face: OpenAI's embeddings, Cohere's and Jina's rerank, search, and a page to search by ear.

An extra: `pip install "harken[serve]"`.
"""
