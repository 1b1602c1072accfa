"""Walking a plan (plans.py): what graphql-core's ExecutionContext does, without finding out again what the plan knows.

Errors are located, collected and passed up by graphql-core's own methods, so that an answer is the same either way:
tests/unit/graphql_api/test_plans.py compares both on generated documents.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Sequence
from types import CoroutineType, NoneType
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    Undefined,
    default_field_resolver,
    default_type_resolver,
)
from graphql.error import located_error
from graphql.execution.execute import CollectedErrors
from graphql.pyutils import Path, is_awaitable
from orjson import Fragment

from millrace_graphql.http.execution import Column, ColumnExecution, Context, run
from millrace_graphql.http.plans import Plan, Step, Value, Variables

_NEVER_AWAITABLE = frozenset([NoneType, bool, int, float, str, bytes, list, tuple, dict, Column, Fragment])
_ARRAYS = frozenset([list, tuple])
_info = tuple.__new__
"""Makes a GraphQLResolveInfo of a tuple; its own constructor takes twelve arguments and three times as long."""


async def execute(
    schema: GraphQLSchema,
    document: DocumentNode,
    plan: Plan | None,
    variables: dict[str, Any],
    operation_name: str | None,
    context: Context,
    root: Any = None,
) -> ExecutionResult | list[GraphQLError]:
    """The result of a valid document by its plan where it has one, else by graphql-core."""
    if plan is not None:
        values = plan.variables(variables)
        steps = None if values is None else plan.steps(values)
        if values is not None and steps is not None:
            return await PlannedExecution(plan, values, context, root).answer(steps)
    return await run(schema, document, variables, operation_name, context, root)


def awaits(value: Any) -> bool:
    """Whether a value is to be awaited: graphql-core's answer, with the common types first."""
    of = type(value)
    return of not in _NEVER_AWAITABLE and (of is CoroutineType or is_awaitable(value))


class PlannedExecution(ColumnExecution):
    """One execution of a plan."""

    def __init__(self, plan: Plan, variables: Variables, context: Any, root: Any) -> None:
        resolvers = default_field_resolver, default_type_resolver, default_field_resolver
        super().__init__(plan.schema, plan.fragments, root, context, plan.operation, variables, *resolvers, CollectedErrors(), None, None)
        self._tail = (plan.schema, plan.fragments, root, plan.operation, variables, context, self.is_awaitable)

    async def answer(self, steps: Sequence[Step]) -> ExecutionResult:
        """The result of the operation."""
        data: dict[str, Any] | None = None
        try:
            found: Any = self._selected(steps, self.root_value, None)
            data = await found if type(found) is CoroutineType else found
        except GraphQLError as error:  # a null reached the root
            self.collected_errors.add(error, None)
        return self.build_response(data, self.collected_errors.errors)

    def _selected(self, steps: Sequence[Step], source: Any, path: Path | None) -> Any:
        """The fields of an object; a coroutine of them where one has to be waited for."""
        results: dict[str, Any] = {}
        waiting: list[str] = []
        for step in steps:
            completed = results[step.key] = self._field(step, source, path)
            # The common types are told here: a call a field is a tenth of all the work.
            if type(completed) not in _NEVER_AWAITABLE and awaits(completed):
                waiting.append(step.key)
        return self._all_of(results, waiting) if waiting else results

    async def _all_of(self, results: Any, waiting: Sequence[Any]) -> Any:
        if len(waiting) == 1:  # needs no task of its own
            results[waiting[0]] = await results[waiting[0]]
        else:
            found = await gather(*(results[key] for key in waiting))
            for key, value in zip(waiting, found, strict=True):
                results[key] = value
        return results

    def _field(self, step: Step, source: Any, within: Path | None) -> Any:
        path = step.path
        if path is None:
            path = Path(within, step.key, step.parent.name)
            info: Any = _info(GraphQLResolveInfo, (*step.head, path, *self._tail))
        else:
            info = _info(GraphQLResolveInfo, step.head + self._tail)
        try:
            if step.arguments is None:
                result = step.resolve(source, info)
            else:
                result = step.resolve(source, info, **step.arguments(self.variable_values))
            of = type(result)
            if of is Fragment and step.value.item is not None:
                return result
            if of not in _NEVER_AWAITABLE and awaits(result):
                return self._awaited(step, step.value, info, path, result)
            completed = self._complete(step.value, step, info, path, result)
        except Exception as error:
            return self._failed(error, step, step.value, path)
        if type(completed) in _NEVER_AWAITABLE or not awaits(completed):
            return completed
        return self._completed(step, step.value, path, completed)

    async def _awaited(self, step: Step, value: Value, info: Any, path: Path, result: Any) -> Any:
        """What a resolver, or an item of its list, gives in time."""
        try:
            completed = self._complete(value, step, info, path, await result)
            return await completed if awaits(completed) else completed
        except Exception as error:
            return self._failed(error, step, value, path)

    async def _completed(self, step: Step, value: Value, path: Path, completed: Any) -> Any:
        try:
            return await completed
        except Exception as error:
            return self._failed(error, step, value, path)

    def _failed(self, error: Exception, step: Step, value: Value, path: Path) -> Any:
        """Null with the error beside it, or the error for the parent where null is no value."""
        located = located_error(error, step.nodes, path.as_list())
        if value.required:
            raise located
        self.collected_errors.add(located, path)
        return None

    def _complete(self, value: Value, step: Step, info: Any, path: Path, result: Any) -> Any:
        if value.leaf is not None:
            if isinstance(result, Exception):
                raise result
            completed = None if result is None or result is Undefined else value.leaf(result)
            if completed is Undefined or (completed is None and result is not None and result is not Undefined):
                completed = self.complete_leaf_value(value.type, result)  # type: ignore[arg-type] # which says what is wrong
        elif type(result) is Fragment or type(result) is Column:
            return result if value.item is not None else self._otherwise(value, step, info, path, result)
        elif isinstance(result, Exception):
            raise result
        elif result is None or result is Undefined:
            completed = None
        elif value.steps is not None:
            completed = self._selected(value.steps, result, path)
        elif value.item is not None and type(result) in _ARRAYS:
            completed = self._items(value.item, step, info, path, result)
        else:
            completed = self._otherwise(value, step, info, path, result)
        if completed is None and value.required:
            raise TypeError(f"Cannot return null for non-nullable field {info.parent_type.name}.{info.field_name}.")
        return completed

    def _otherwise(self, value: Value, step: Step, info: Any, path: Path, result: Any) -> Any:
        """An abstract type, a type that looks at its values, an iterator: graphql-core's way."""
        return self.complete_value(value.type, step.nodes, info, path, result)

    def _items(self, item: Value, step: Step, info: Any, path: Path, result: Sequence[Any]) -> Any:
        found: list[Any] = []
        waiting: list[int] = []
        for index, each in enumerate(result):
            place = Path(path, index, None)
            if awaits(each):
                completed: Any = self._awaited(step, item, info, place, each)
            else:
                try:
                    completed = self._complete(item, step, info, place, each)
                    if awaits(completed):
                        completed = self._completed(step, item, place, completed)
                except Exception as error:
                    completed = self._failed(error, step, item, place)
            if awaits(completed):
                waiting.append(index)
            found.append(completed)
        return self._all_of(found, waiting) if waiting else found
