from fastnn.core.types import Array

def grow(codes: Array, starts: Array, slopes: Array, rows: Array, leaves: int, penalty: float,
         least_rows: float, least_gain: float) -> tuple[Array, Array]: ...
