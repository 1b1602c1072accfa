"""Documents: parsed, limited and validated once, then taken from a bounded cache by their text."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from graphql import (
    DocumentNode,
    ExecutableDefinitionsRule,
    GraphQLError,
    GraphQLSchema,
    MaxIntrospectionDepthRule,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    get_operation_ast,
    parse,
    specified_rules,
    validate,
)

from millrace_graphql.errors import ApiError, LimitExceededError
from millrace_graphql.http import limits
from millrace_graphql.http.cost import Costs
from millrace_graphql.http.plans import Plan, compiled
from millrace_graphql.observability import DOCUMENTS
from millrace_graphql.settings import ApiSettings

MAX_ERRORS = 10
_CACHED = DOCUMENTS.labels("cached")
_RULES = [*specified_rules, *({MaxIntrospectionDepthRule, ExecutableDefinitionsRule} - set(specified_rules))]


@dataclass(frozen=True)
class Document:
    """A parsed document, or why it is refused."""

    node: DocumentNode | None
    errors: tuple[GraphQLError | ApiError, ...] = ()
    key: bytes = b""
    """SHA-256 of its text."""
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
        self._known: OrderedDict[str, Document] = OrderedDict()

    def get(self, text: str) -> Document:
        """The document of a text."""
        known = self._known.get(text)
        if known is not None:
            _CACHED.inc()
            self._known.move_to_end(text)
            return known
        DOCUMENTS.labels("validated").inc()
        document = replace(self._check(text), key=hashlib.sha256(text.encode(errors="surrogatepass")).digest())
        self._known[text] = document
        while len(self._known) > self._settings.document_cache:
            self._known.popitem(last=False)
        return document

    def plan(self, document: Document, operation_name: str | None) -> Plan | None:
        """The plan of an operation. None of one that is asked for the first time, since that may be the last, and where there is none."""
        if operation_name in document.plans:
            return document.plans[operation_name]
        if document.node is None or not self._settings.plans or document.operation(operation_name) is None:
            return None
        if operation_name not in document.asked:
            document.asked.add(operation_name)
            return None
        plan = document.plans[operation_name] = compiled(self._schema, document.node, operation_name)
        return plan

    def _check(self, text: str) -> Document:
        try:
            node = parse(text, max_tokens=self._settings.max_tokens)
            limits.check(node, self._settings)
            errors = validate(self._schema, node, self._rules, max_errors=MAX_ERRORS)
        except (GraphQLError, LimitExceededError) as error:
            return Document(None, (error,))
        except RecursionError:
            return Document(
                None, (LimitExceededError("nesting", "too deep to read", self._settings.max_depth, "ask for less in one request"),)
            )
        return Document(node, tuple(errors))
