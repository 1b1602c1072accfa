"""An operation compiled once: which fields it asks for, how their arguments are made and how their values are completed.

graphql-core finds all of this out again for every request. A plan asks graphql-core's own functions when it is compiled, once for
each combination of the variables that @skip and @include look at, and ``planned.py`` then walks it. What a plan does not hold (a
mutation, an abstract type, an argument with a list in it, an error) goes through graphql-core's code as it always did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLType,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableNode,
    default_field_resolver,
    get_argument_values,
    get_operation_ast,
    get_variable_values,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    type_from_ast,
    value_from_ast,
)
from graphql.execution.collect_fields import collect_fields, collect_sub_fields
from graphql.execution.execute import get_field_def
from graphql.language import Visitor, visit
from graphql.pyutils import Path

PLAN_BYTES, STEP_BYTES = 4_000, 1_600
"""About what a plan takes, and each of its steps: with its nodes, arguments and what resolvers find out."""
MOST_SELECTIONS = 16
"""Combinations of @skip and @include that are kept of one operation; whatever else is asked for runs by graphql-core."""
Variables = dict[str, Any]
Arguments = Callable[[Variables], dict[str, Any]]


class Nodes(list[FieldNode]):
    """The nodes of a planned field: the same object for every request, so that resolvers can keep with it what they found out."""

    __slots__ = ("found",)

    def __init__(self, nodes: list[FieldNode]) -> None:
        super().__init__(nodes)
        self.found: dict[Any, Any] = {}


@dataclass(eq=False, slots=True)
class Step:
    """A field of a selection. ``path`` is None below a list, where it differs from item to item."""

    key: str
    parent: GraphQLObjectType
    nodes: Nodes
    type: GraphQLOutputType
    resolve: Callable[..., Any]
    arguments: Arguments | None
    path: Path | None
    head: tuple[Any, ...]
    """The first fields of its GraphQLResolveInfo; with the path where that is known."""
    value: Value


@dataclass(eq=False, slots=True)
class Value:
    """How a value of a type is completed; ``required`` where null is none. Exactly one of leaf, item and steps is set, or none of them."""

    type: GraphQLOutputType
    required: bool
    leaf: Callable[[Any], Any] | None = None
    item: Value | None = None
    steps: tuple[Step, ...] | None = None


@dataclass(eq=False, slots=True)
class Plan:
    """An operation of a document."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    root: GraphQLObjectType
    conditions: tuple[str, ...]
    """Variables that decide which fields are asked for."""
    coercions: tuple[_Coercion, ...] | None
    """None where a variable is not plain: graphql-core coerces them all."""
    selections: dict[tuple[Any, ...], tuple[Step, ...] | None]
    grew: Callable[[int], None]
    """Told the bytes of each selection that is compiled."""

    def variables(self, given: Mapping[str, Any]) -> Variables | None:
        """The coerced variables; None where graphql-core has to say what is wrong with them."""
        if self.coercions is None:
            found = get_variable_values(self.schema, self.operation.variable_definitions or (), dict(given))
            return None if isinstance(found, list) else found
        values: Variables = {}
        for coercion in self.coercions:
            value = given.get(coercion.name, Undefined)
            if value is Undefined:
                if coercion.required and coercion.default is Undefined:
                    return None
                if coercion.default is not Undefined:
                    values[coercion.name] = coercion.default
                continue
            if value is None:
                if coercion.required:
                    return None
                values[coercion.name] = None
                continue
            try:
                parsed = coercion.parse(value)
            except Exception:  # graphql-core meets it again and words it
                return None
            if parsed is Undefined:
                return None
            values[coercion.name] = parsed
        return values

    def steps(self, variables: Variables) -> tuple[Step, ...] | None:
        """The fields that are asked for; None where graphql-core has to find out."""
        key = tuple([variables.get(name, Undefined) for name in self.conditions])
        if key not in self.selections:
            if len(self.selections) >= MOST_SELECTIONS:
                return None
            self.selections[key] = self._selection(variables)
        return self.selections[key]

    def _selection(self, variables: Variables) -> tuple[Step, ...] | None:
        compiler = _Compiler(self.schema, self.fragments, {name: variables[name] for name in self.conditions if name in variables})
        try:
            fields = collect_fields(self.schema, self.fragments, variables, self.root, self.operation.selection_set)
            return compiler.steps(self.root, fields, None, within_list=False)
        except Exception:  # for example a condition without a value: it is said where the field would have been
            return None
        finally:
            self.grew(STEP_BYTES * (1 + compiler.count) + sum(getsizeof(variables.get(name)) for name in self.conditions))


@dataclass(frozen=True, slots=True)
class _Coercion:
    """A variable of a plain type."""

    name: str
    required: bool
    default: Any
    parse: Callable[[Any], Any]


def _nothing(size: int) -> None:
    """Nobody counts what a plan takes."""


def compiled(
    schema: GraphQLSchema, document: DocumentNode, operation_name: str | None, grew: Callable[[int], None] = _nothing
) -> Plan | None:
    """The plan of an operation of a valid document; None where graphql-core has to run it."""
    operation = get_operation_ast(document, operation_name)
    if operation is None or operation.operation is OperationType.MUTATION:
        return None
    root = schema.get_root_type(operation.operation)
    if root is None:
        return None
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    conditions = _Conditions()
    for node in (operation, *fragments.values()):
        visit(node, conditions)
    return Plan(schema, operation, fragments, root, tuple(sorted(conditions.names)), _coercions(schema, operation), {}, grew)


class _Conditions(Visitor):
    """The variables in directives."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_directive(self, node: Any, *_: Any) -> None:
        self.names.update(argument.value.name.value for argument in node.arguments if isinstance(argument.value, VariableNode))


def _coercions(schema: GraphQLSchema, operation: OperationDefinitionNode) -> tuple[_Coercion, ...] | None:
    found = []
    for node in operation.variable_definitions or ():
        of = type_from_ast(schema, node.type)
        required = is_non_null_type(of)
        plain = _nullable(of)
        if not is_leaf_type(plain):
            return None
        default = value_from_ast(node.default_value, of) if node.default_value else Undefined  # type: ignore[arg-type]
        if node.default_value and default is Undefined:
            return None
        found.append(_Coercion(node.variable.name.value, required, default, plain.parse_value))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Named:
    """An argument that is a variable; ``default`` is the argument's own."""

    argument: str
    variable: str
    default: Any
    required: bool


class _Compiler:
    def __init__(self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode], conditions: Variables) -> None:
        self._schema = schema
        self._fragments = fragments
        self._conditions = conditions
        self.count = 0
        """Steps that were made."""

    def steps(
        self, parent: GraphQLObjectType, fields: Mapping[str, list[FieldNode]], path: Path | None, *, within_list: bool
    ) -> tuple[Step, ...]:
        """The steps of a selection that is collected."""
        found = []
        for key, nodes in fields.items():
            field = get_field_def(self._schema, parent, nodes[0])
            if not field:
                continue  # validation refuses it
            own = None if within_list else Path(path, key, parent.name)
            kept = Nodes(nodes)
            self.count += 1
            head = (nodes[0].name.value, kept, field.type, parent, *(() if own is None else (own,)))
            value = self._value(field.type, nodes, own, within_list=within_list)
            resolve = field.resolve or default_field_resolver
            found.append(Step(key, parent, kept, field.type, resolve, _arguments(field, nodes[0]), own, head, value))
        return tuple(found)

    def _value(self, of: GraphQLType, nodes: list[FieldNode], path: Path | None, *, within_list: bool) -> Value:
        required = is_non_null_type(of)
        plain = _nullable(of)
        if is_list_type(plain):
            return Value(plain, required, item=self._value(plain.of_type, nodes, None, within_list=True))
        if is_leaf_type(plain):
            return Value(plain, required, leaf=plain.serialize)
        if is_object_type(plain) and plain.is_type_of is None:
            fields = collect_sub_fields(self._schema, self._fragments, self._conditions, plain, nodes)
            return Value(plain, required, steps=self.steps(plain, fields, path, within_list=within_list))
        return Value(plain, required)


def _arguments(field: GraphQLField, node: FieldNode) -> Arguments | None:
    """How a field's arguments are made; None of a field without any."""
    if not field.args:
        return None

    def in_full(variables: Variables) -> dict[str, Any]:
        return get_argument_values(field, node, variables)

    constants: dict[str, Any] = {}
    named: list[_Named] = []
    given = {argument.name.value: argument.value for argument in node.arguments}
    for name, definition in field.args.items():
        value, out, required = given.get(name), definition.out_name or name, is_non_null_type(definition.type)
        # A list or an object could be changed by one resolver for those after it.
        if not is_leaf_type(_nullable(definition.type)) or isinstance(value, ListValueNode | ObjectValueNode):
            return in_full
        if isinstance(value, VariableNode):
            named.append(_Named(out, value.name.value, definition.default_value, required))
            continue
        constant = definition.default_value if value is None else value_from_ast(value, definition.type)
        if constant is not Undefined and not (constant is None and required):
            constants[out] = constant
        elif value is not None or required:
            return in_full  # which says what is wrong
    return _made(constants, tuple(named), in_full) if named else lambda variables: constants


def _made(constants: dict[str, Any], named: tuple[_Named, ...], in_full: Arguments) -> Arguments:
    def make(variables: Variables) -> dict[str, Any]:
        made = constants.copy()
        for each in named:
            value = variables.get(each.variable, each.default)
            if value is not Undefined and not (value is None and each.required):
                made[each.argument] = value
            elif each.required or each.variable in variables:
                return in_full(variables)
        return made

    return make


def _nullable(of: Any) -> Any:
    return of.of_type if is_non_null_type(of) else of
