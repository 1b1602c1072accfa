"""Documents: parsed, limited and validated once, then taken from a bounded cache by their text."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    ExecutableDefinitionsRule,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    MaxIntrospectionDepthRule,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    get_operation_ast,
    specified_rules,
    validate,
)
from graphql.language.ast import Token
from graphql.language.parser import Parser

from millrace_graphql.bounded import Bounded, text_bytes
from millrace_graphql.errors import ApiError, LimitExceededError
from millrace_graphql.http import limits
from millrace_graphql.http.cost import Costs
from millrace_graphql.http.plans import PLAN_BYTES, Plan, compiled
from millrace_graphql.observability import DOCUMENTS
from millrace_graphql.settings import ApiSettings

MAX_ERRORS = 10
LONGEST_TEXT = 16_384
"""Characters of a document that is kept; a longer one is validated each time."""
TOKEN_BYTES = 640
"""The most that a token of a document has taken with its node and place (graphql-core 3.2): measured of fields alone."""
OPERATION_BYTES = 1_000
"""What is found out of an operation: its node by name, its costs and that it was asked for."""
TIDY_BYTES = 8_388_608
"""Bytes of texts after which the cycles of validations are looked for: few objects hold a long text, so that nothing else would."""
_CACHED = DOCUMENTS.labels("cached")
_RULES = [*specified_rules, *({MaxIntrospectionDepthRule, ExecutableDefinitionsRule} - set(specified_rules))]


@dataclass(frozen=True, eq=False)
class Document:
    """A parsed document, or why it is refused."""

    node: DocumentNode | None
    errors: tuple[GraphQLError | ApiError, ...] = ()
    key: bytes = b""
    """SHA-256 of its text."""
    size: int = 0
    """Bytes in memory, about, without what is found out later."""
    costs: dict[str | None, Costs] = field(default_factory=dict)
    """By operation name, once each was asked for."""
    plans: dict[str | None, Plan | None] = field(default_factory=dict)
    """By operation name, once each was asked for again."""
    asked: set[str | None] = field(default_factory=set)
    """Names of the operations that were asked for."""
    operations: dict[str | None, OperationDefinitionNode | None] = field(default_factory=dict)
    """By operation name, as they were found."""

    def operation(self, name: str | None) -> OperationDefinitionNode | None:
        """The operation of a name, or the only one; None where there is none such."""
        if name not in self.operations:
            if self.node is None:
                return None
            found = get_operation_ast(self.node, name)
            if found is None:
                return None  # names of nothing are not kept: a caller may think up any number of them
            self.operations[name] = found
        return self.operations[name]


class Documents:
    """Turns text into documents. Nothing here depends on the caller, so that one cache serves all (I9)."""

    def __init__(self, schema: GraphQLSchema, settings: ApiSettings) -> None:
        self._schema = schema
        self._settings = settings
        self._rules = _RULES if settings.introspection else [*_RULES, NoSchemaIntrospectionCustomRule]
        self._known: Bounded[bytes, Document] = Bounded(settings.document_cache_bytes, settings.document_cache)
        self._read = 0

    @property
    def size(self) -> int:
        """Bytes kept, about."""
        return self._known.size

    def get(self, text: str, *, keep: bool = True) -> Document:
        """The document of a text; ``keep`` it unless its caller is nobody. A refused one is never kept."""
        key = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
        known = self._known.get(key)
        if known is not None:
            _CACHED.inc()
            return known
        DOCUMENTS.labels("validated").inc()
        document = self._check(text, key)
        if keep and not document.errors and len(text) <= LONGEST_TEXT:
            self._known.put(key, document, document.size)
        self._tidy(text)
        return document

    def plan(self, document: Document, operation_name: str | None) -> Plan | None:
        """The plan of an operation. None of one that is asked for the first time, since that may be the last, and where there is none."""
        if operation_name in document.plans:
            return document.plans[operation_name]
        if document.node is None or not self._settings.plans or document.operation(operation_name) is None:
            return None
        if operation_name not in document.asked:
            document.asked.add(operation_name)
            self._known.grew(document.key, document, OPERATION_BYTES + text_bytes(operation_name))
            return None
        plan = document.plans[operation_name] = compiled(self._schema, document.node, operation_name, self._growth(document))
        self._known.grew(document.key, document, PLAN_BYTES)
        return plan

    def _growth(self, document: Document) -> Callable[[int], None]:
        return lambda size: self._known.grew(document.key, document, size)

    def _tidy(self, text: str) -> None:
        self._read += text_bytes(text)
        if self._read > TIDY_BYTES:
            self._read = 0
            gc.collect(1)

    def _check(self, text: str, key: bytes) -> Document:
        parser = _Parser(text, max_tokens=self._settings.max_tokens)
        try:
            node = parser.document()
            limits.check(node, self._settings)
            errors = validate(self._schema, node, self._rules, max_errors=MAX_ERRORS)
        except (GraphQLError, LimitExceededError) as error:
            return Document(None, (error.with_traceback(None),), key)
        except RecursionError:
            return Document(
                None, (LimitExceededError("nesting", "too deep to read", self._settings.max_depth, "ask for less in one request"),), key
            )
        finally:
            parser.unlink()
        return Document(node, tuple(errors), key, text_bytes(text) + parser.token_count * TOKEN_BYTES)


class _Parser(Parser):
    def document(self) -> DocumentNode:
        """As ``graphql.parse``, whose words a text that nests too deep gets."""
        try:
            return self.parse_document()
        except RecursionError:
            lexer = self._lexer
            raise GraphQLSyntaxError(lexer.source, lexer.token.start, "Document is nested too deeply. Parsing aborted.") from None

    def unlink(self) -> None:
        """Take the chain of tokens apart: it is one cycle, which holds each comment of the document too."""
        token: Token | None = self._lexer.token
        while token is not None and token.next is not None:
            token = token.next
        while token is not None:
            before, token.prev, token.next = token.prev, None, None
            token = before
